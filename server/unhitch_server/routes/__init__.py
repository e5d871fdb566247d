"""The routes that generate: how each is read, encoded for the engine, and confirmed."""
