"""The proxy: an OpenAI-compatible endpoint in front of vLLM that applies unhitch's strategies."""
