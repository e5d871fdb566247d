"""Who may use the proxy, and how much of it: client keys, limits, and the key of the control routes."""
