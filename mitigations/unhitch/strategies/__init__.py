"""The built-in strategies, one a file; `unhitch.registry.BUILT_INS` lists them in order."""
