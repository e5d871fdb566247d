"""A chat endpoint that costs little and says something else to every question and seed: `python -m ... PORT WORDS`.

It stands for the proxy and the engine where the harness is what is measured.
"""

from __future__ import annotations

import json
import random
import sys

import uvicorn
from starlette.types import Receive, Scope, Send

LEXICON = tuple(
    f"{first}{second}{third}" for first in "bdfglmnprstv" for second in "aeiou" for third in ("", "n", "st")
)


class ScriptedEndpoint:
    """Answers with so many words, drawn from the request's last message, seed and mitigation."""

    def __init__(self, words: int) -> None:
        self._words = words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = [(b"content-type", b"application/json")]
        answer = b"{}"
        if scope["method"] == "POST":  # all else asks whether it is there
            mitigation = dict(scope["headers"])[b"unhitch-mitigation"]
            headers.append((b"unhitch-applied", mitigation))
            answer = self._answer(json.loads(body), mitigation.decode())
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, asked: dict[str, object], mitigation: str) -> bytes:
        rng = random.Random(f"{asked['messages']} {asked.get('seed')} {mitigation}")
        message = {"role": "assistant", "content": " ".join(rng.choices(LEXICON, k=self._words))}
        usage = {"prompt_tokens": 20, "completion_tokens": self._words, "total_tokens": 20 + self._words}
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": asked["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": usage,
        }
        return json.dumps(answer).encode()


if __name__ == "__main__":
    application = ScriptedEndpoint(words=int(sys.argv[2]))
    port = int(sys.argv[1])
    uvicorn.run(application, host="127.0.0.1", port=port, log_level="error", access_log=False, lifespan="off")
