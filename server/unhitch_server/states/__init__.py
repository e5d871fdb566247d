"""The proxy's side of prefix states: what the engine serves, what it confirms, and capture on first use."""
