"""Judges by name: the built-in ones, and those of other distributions that the operator allows."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from unhitch.binding import suggestion
from unhitch.errors import JudgeError
from unhitch.evals.judges.judge import Judge

ENTRY_POINT_GROUP = "unhitch.judges"
"""Where other distributions offer judges of theirs."""

BUILT_INS = ("exact", "rated")
"""Every judge that ships with unhitch, in the order of tables."""


def find(
    name: str,
    *,
    allow_plugins: Collection[str] = (),
    url: str | None = None,
    model: str | None = None,
    api_key: str | None = None,
) -> Judge:
    """A judge, made with what it takes of `url`, `model` and `api_key`.

    Args:
        name: One of `BUILT_INS`, or the name of an entry point in the group `unhitch.judges`.
        allow_plugins: Names of entry points that may be loaded, which runs code of other distributions.
        url: Base URL of the endpoint that the judge asks, if it asks one.
        model: Served name of the model that it asks.
        api_key: Its key there. A judge that takes none is not given it, so that it may stem from the environment.

    Raises:
        JudgeError: There is no such judge; it is not allowed, cannot be imported or breaks the contract; or it needs
            a URL or a model that is not given, or takes none.
    """
    kind = _built_in(name) if name in BUILT_INS else _plug_in(name, allow_plugins)
    given = {key: value for key, value in (("url", url), ("model", model)) if value is not None}
    takes = inspect.signature(kind).parameters
    needed = [key for key, parameter in takes.items() if _required(parameter) and key not in given]
    if missing := [key for key in needed if not (key == "api_key" and api_key is not None)]:
        raise JudgeError(f"the judge `{name}` needs {' and '.join(missing)}, which {_was(missing)} not given.")
    if spare := [key for key in given if key not in takes]:
        raise JudgeError(f"the judge `{name}` takes no {' and no '.join(spare)}; leave {_it(spare)} out.")
    if api_key is not None and "api_key" in takes:
        given["api_key"] = api_key
    return kind(**given)


def _built_in(name: str) -> type[Judge]:
    if name == "exact":
        from unhitch.evals.judges.exact import ExactJudge

        return ExactJudge
    from unhitch.evals.judges.rated import RatedJudge  # OpenAI's client takes long to import

    return RatedJudge


def _plug_in(name: str, allowed: Collection[str]) -> type[Judge]:
    entry = _entry_point(name)
    if name not in allowed:
        raise JudgeError(
            f"the judge `{name}` ({entry.value}) is installed but not allowed; allow it by name, since it runs code of "
            "another distribution."
        )
    try:
        loaded = entry.load()
    except Exception as error:
        raise JudgeError(f"the judge `{name}` ({entry.value}) cannot be imported: {error!r}") from error
    kind = _check_contract(loaded)
    if kind.name != name:
        raise JudgeError(f"the entry point `{name}` leads to a judge that calls itself `{kind.name}`; they must agree.")
    return kind


def _entry_point(name: str) -> EntryPoint:
    installed = entry_points(group=ENTRY_POINT_GROUP)
    found = [entry for entry in installed if entry.name == name]
    if not found:
        names = sorted({*BUILT_INS, *(entry.name for entry in installed)})
        raise JudgeError(
            f"There is no judge `{name[:80]}`. {suggestion(name[:80], names)}There are {', '.join(names)}."
        )
    if len(found) > 1:
        offers = ", ".join(entry.value for entry in found)
        raise JudgeError(f"the judge `{name}` is offered more than once ({offers}); uninstall all but one.")
    return found[0]


def _check_contract(loaded: Any) -> type[Judge]:
    if not (inspect.isclass(loaded) and issubclass(loaded, Judge)):
        raise JudgeError(f"{loaded!r} is no subclass of unhitch.evals.judges.judge.Judge.")
    if inspect.isabstract(loaded):
        raise JudgeError(f"{loaded.__qualname__} does not define {', '.join(sorted(loaded.__abstractmethods__))}.")
    name, version = getattr(loaded, "name", None), getattr(loaded, "version", None)
    if not isinstance(name, str) or not name:
        raise JudgeError(f"{loaded.__qualname__}: `name` is {name!r}; a text is needed.")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise JudgeError(f"the judge `{name}`: `version` is {version!r}; an integer of at least 1 is needed.")
    return loaded


def _required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind not in (
        parameter.VAR_POSITIONAL,
        parameter.VAR_KEYWORD,
    )


def _was(names: list[str]) -> str:
    return "was" if len(names) == 1 else "were"


def _it(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"
