"""The vLLM KV connector that serves states, and the middleware that says so on every answer.

`options.py` loads both into vLLM. `connector.py` is vLLM's interface; it calls `scheduling.py` in the scheduler's
process, `placing.py` and `recording.py` in the workers'; `messages.py` is what the two sides tell each other in every
step.
"""
