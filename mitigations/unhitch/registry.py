"""The registry: which strategies there are, by name, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from unhitch import markdown
from unhitch.binding import bind_one, suggestion
from unhitch.contract import check_contract
from unhitch.errors import BadParameter, RegistryError, UnknownStrategy
from unhitch.headers import Asked
from unhitch.mitigation import Step
from unhitch.strategies.auto import Auto
from unhitch.strategies.bare import Bare
from unhitch.strategies.best_of import BestOf, check_place
from unhitch.strategies.off import Off
from unhitch.strategies.perturb import Perturb
from unhitch.strategies.pool import Pool
from unhitch.strategies.postfix_state import PostfixState
from unhitch.strategies.prefix_state import PrefixState
from unhitch.strategies.recase import Recase
from unhitch.strategies.respace import Respace
from unhitch.strategies.system import System
from unhitch.strategy import Expanding, Strategy

ENTRY_POINT_GROUP = "unhitch.strategies"
"""Where other distributions offer strategies of theirs."""

BUILT_INS: tuple[type[Strategy[Any]], ...] = (
    Off,
    System,
    Recase,
    Respace,
    Perturb,
    Bare,
    PrefixState,
    PostfixState,
    Pool,
    BestOf,
    Auto,
)
"""Every strategy that ships with unhitch, in the order of tables."""


class Registry:
    """Strategies by name. It cannot change once made, so that all requests of a process see the same.

    Args:
        strategies: Classes, each made once; the order is kept.

    Raises:
        RegistryError: A class breaks the contract of a strategy, or a name is taken.
    """

    def __init__(self, strategies: Iterable[type[Strategy[Any]]] = BUILT_INS) -> None:
        self._strategies: dict[str, Strategy[Any]] = {}
        for candidate in strategies:
            strategy = check_contract(candidate)
            if taken := self._strategies.get(strategy.name):
                raise RegistryError(
                    f"`{strategy.name}` is the name of {_origin(type(taken))} and of {_origin(strategy)}; rename one."
                )
            self._strategies[strategy.name] = strategy()

    @classmethod
    def load(cls, allow: Sequence[str] = ()) -> Registry:
        """The built-in strategies and those of other distributions that the operator allows.

        Args:
            allow: Names of entry points in the group `unhitch.strategies`, which run code of other distributions.

        Raises:
            RegistryError: An allowed strategy is not installed, is offered twice, fails to import, breaks the contract,
                is called otherwise than its entry point, or has a name that is taken.
        """
        return cls((*BUILT_INS, *(_load(name) for name in dict.fromkeys(allow))))

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(self._strategies)

    def __iter__(self) -> Iterator[Strategy[Any]]:
        return iter(self._strategies.values())

    def __len__(self) -> int:
        return len(self._strategies)

    def __contains__(self, name: object) -> bool:
        return name in self._strategies

    def get(self, name: str) -> Strategy[Any]:
        """The strategy of that name.

        Raises:
            UnknownStrategy: There is none; the message has near names and all names.
        """
        if name in self._strategies:
            return self._strategies[name]
        names, shown = list(self.names), name[:80]
        raise UnknownStrategy(
            f"There is no strategy `{shown}`. {suggestion(shown, names)}There are {', '.join(names)}.", param=shown
        )

    def bind(self, asked: Sequence[Asked]) -> tuple[Step, ...]:
        """Validated steps.

        Args:
            asked: At least one entry, in the order in which to apply them.

        Raises:
            UnknownStrategy: A name that is not registered.
            BadParameter: A parameter that does not validate, `off` beside another strategy, `best-of` where it may
                not stand, or more than one strategy that stands for others (`pool`, `auto`).
        """
        steps = tuple(bind_one(self.get(entry.name), entry) for entry in asked)
        if not steps or (len(steps) > 1 and any(isinstance(step.strategy, Off) for step in steps)):
            received = ", ".join(entry.name for entry in asked) or "nothing"
            raise BadParameter(
                f"`{received}` was asked for: name `off` alone, or only other strategies.", param=Off.name
            )
        check_place(steps)
        _check_expanding(steps)
        return steps

    def schema(self, name: str) -> dict[str, Any]:
        """JSON schema of a strategy's parameters.

        Raises:
            UnknownStrategy: A name that is not registered.
        """
        return self.get(name).parameters.model_json_schema()

    def markdown_table(self) -> str:
        """All strategies as a Markdown table: name, what is edited, source."""
        rows = ((f"`{strategy.name}`", strategy.summary, strategy.source) for strategy in self)
        return markdown.table(("name", "edits", "source"), rows)

    def installed_but_not_allowed(self) -> tuple[str, ...]:
        """Names of installed entry points that are not in this registry, sorted; nothing of theirs is imported."""
        return tuple(sorted({entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)} - set(self.names)))


def _check_expanding(steps: Sequence[Step]) -> None:
    expanding = [step for step in steps if isinstance(step.strategy, Expanding)]
    if len(expanding) > 1:
        names = ", ".join(step.strategy.name for step in expanding)
        raise BadParameter(
            f"`{names}` was asked for: each stands for other strategies; name one of them.", param=names.split(",")[0]
        )
    if expanding and expanding[0].tokens is not None:
        name = expanding[0].strategy.name
        raise BadParameter(
            f"`{name};tokens={expanding[0].tokens}`: `{name}` changes no tokens itself; to redo an edit, send what "
            "`Unhitch-Applied` said of it.",
            param="tokens",
        )


def _load(name: str) -> type[Strategy[Any]]:
    entry = _entry_point(name)
    try:
        loaded = entry.load()
    except Exception as error:
        raise RegistryError(f"strategy `{name}` ({entry.value}) cannot be imported: {error!r}") from error
    strategy = check_contract(loaded)
    if strategy.name != name:
        raise RegistryError(
            f"the entry point `{name}` leads to a strategy that calls itself `{strategy.name}`; the two must agree."
        )
    return strategy


def _entry_point(name: str) -> EntryPoint:
    installed = entry_points(group=ENTRY_POINT_GROUP)
    found = [entry for entry in installed if entry.name == name]
    if not found:
        names = sorted({entry.name for entry in installed})
        raise RegistryError(
            f"strategy `{name}` is allowed but not installed. {suggestion(name, names)}Installed beside the built-in "
            f"ones: {', '.join(names) or 'none'}."
        )
    if len(found) > 1:
        offers = ", ".join(f"{entry.value} of {_distribution(entry)}" for entry in found)
        raise RegistryError(f"strategy `{name}` is offered more than once ({offers}); uninstall all but one.")
    return found[0]


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "an unknown distribution"


def _origin(strategy: type[Strategy[Any]]) -> str:
    return f"{strategy.__module__}.{strategy.__qualname__}"
