"""What the proxy asks beside its clients' requests: shadow arms and canaries."""
