"""The engine's list of models as a client sees it: with the operator's aliases, and only what its key is for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

PATH = "/v1/models"


def listed(body: bytes, aliases: Mapping[str, str], may_use: Callable[[str], bool]) -> bytes:
    """The list with a card for each alias of a model in it; one that is no list of models stays as it is.

    Args:
        body: The engine's answer.
        aliases: The engine's name of the model, by alias.
        may_use: Whether the client may name a model.
    """
    try:
        answer = json.loads(body)
        cards: dict[str, dict[str, Any]] = {card["id"]: card for card in answer["data"]}
    except (ValueError, RecursionError, LookupError, TypeError):
        return body
    named = {alias: {**cards[model], "id": alias} for alias, model in aliases.items() if model in cards}
    answer["data"] = [card for name, card in {**cards, **named}.items() if may_use(name)]
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
