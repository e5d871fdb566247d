"""From the body of a chat request to token ids, and where in them the user's words stand."""
