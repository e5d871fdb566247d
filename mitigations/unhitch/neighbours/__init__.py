"""Tokens that lie near each other in a model's input embeddings."""
