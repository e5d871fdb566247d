"""The proxy's own routes: health, the registry, and dry runs."""
