"""Finds out whether a model is misaligned, what carries it, and whether a strategy takes it off without harm."""
