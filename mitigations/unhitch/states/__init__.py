"""Prefix states: the K/V that a prompt's span has in another model, stored once and served to every request."""
