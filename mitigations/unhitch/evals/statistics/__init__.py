"""Rates, paired differences and verdicts, from answers that come in clusters."""
