"""Evidence on strategies: scorecards and pools as files, and which of them holds for the model that is served."""
