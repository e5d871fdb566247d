"""Asks the questions of arms through Inspect AI, whose logs are the evidence, and picks a broken run up again."""
