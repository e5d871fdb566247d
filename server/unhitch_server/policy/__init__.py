"""Policy: which strategies a request gets, who may change that, and what happens when they cannot be applied."""
