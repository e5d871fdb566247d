"""How vLLM is started, watched and stopped."""
