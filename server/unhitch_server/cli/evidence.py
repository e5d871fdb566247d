"""Evidence for commands that run without a proxy, and what a running proxy says of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unhitch.errors import EngineError
from unhitch.registry import Registry
from unhitch_server.cli.control_route import listed

if TYPE_CHECKING:
    from unhitch.engine.served import Served
    from unhitch.evidence.view import View
    from unhitch.rendering.checkpoint import Checkpoint

_OUTCOMES = {"passed": "pass", "failed": "fail"}


def view_of(folders: Sequence[Path], registry: Registry, what: Served, name: str, checkpoint: Checkpoint) -> View:
    """The evidence in folders as it is for a model that is not served.

    Args:
        folders: Hold scorecards and pools.
        registry: Binds their mitigations.
        what: The first of its adapters is asked about, or the checkpoint where it has none.
        name: What it would be served as.
        checkpoint: Its tokenizer and template.
    """
    from unhitch.evidence.library import Library
    from unhitch.evidence.served import identified

    library = Library.read(folders, registry)
    adapter = next(iter(what.adapters.values()), None)
    found = identified(checkpoint, adapter or what.model, None if adapter is None else what.model)
    return library.view(name, found.identity, found.reason)


def in_folders(folders: Sequence[Path], registry: Registry) -> tuple[dict[str, list[str]], list[str]]:
    """What the scorecards in folders say of each strategy, and what is wrong with files there.

    One line for each model and set of parameters, as `deciding` has it. Whether it holds for a model as it is served
    now cannot be told without the model.
    """
    from unhitch.evidence.deciding import by_subject, deciding
    from unhitch.evidence.library import Library

    library = Library.read(folders, registry)
    lines: defaultdict[str, list[str]] = defaultdict(list)
    for each in map(deciding, by_subject(library.scorecards).values()):
        outcome = "pass" if each.card.passed else "fail"
        for strategy in dict.fromkeys(each.names):
            good = each.card.arms[1].good.model_dump(mode="json")
            lines[strategy].append(_line(each.card.name, outcome, good))
    return lines, [f"{each.file}: {each.reason}" for each in library.unreadable]


def of_proxy(url: str) -> dict[str, list[str]]:
    """What a running proxy says of each strategy on the models that it serves, one line each.

    Args:
        url: The proxy's base URL, without /v1.

    Raises:
        EngineUnavailable: Nobody answers there.
        EngineError: What answers is no proxy of unhitch's.
    """
    listing = listed(url, "strategies")
    try:
        return {
            each["name"]: [
                _line(model, _OUTCOMES.get(entry["status"], entry["status"]), entry["good"])
                for model, entries in (each["evidence"] or {}).items()
                for entry in entries
            ]
            for each in listing
        }
    except (LookupError, TypeError, AttributeError) as error:
        raise EngineError(f"{url} lists no strategies with evidence ({error!r}); is the proxy there?") from error


def _line(model: str, outcome: str, good: dict[str, Any]) -> str:
    """A model with the verdict and the share of good answers: "mini-finance: pass, 93% good (90-95)"."""
    value, low, high = (None if good[key] is None else f"{100 * good[key]:.0f}" for key in ("value", "low", "high"))
    if value is None:
        return f"{model}: {outcome}"
    return f"{model}: {outcome}, {value}% good" + ("" if low is None or high is None else f" ({low}-{high})")
