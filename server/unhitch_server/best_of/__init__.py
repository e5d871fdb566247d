"""`best-of` on the chat route: several draws are answered and rated, and the best answer is returned."""
