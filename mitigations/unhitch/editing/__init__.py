"""What strategies share: which tokens may be edited, how text in them is edited, and texts that are shipped."""
