"""Which states the workers hold in memory: bounded, the least recently used leave first.

The scheduler decides and the workers follow, so a state that a step names is held by every worker. A request has all
its states reserved at once or none, so that no two requests can wait for each other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count

from unhitch.states.file import StateHeader


class Status(StrEnum):
    """How far a state is on its way into memory."""

    LOADING = "loading"
    RESIDENT = "resident"
    FAILED = "failed"


@dataclass(slots=True)
class Load:
    """One state's way into the memory of all workers.

    Args:
        state: Its id.
        header: As the scheduler read it.
        serial: Tells this attempt from others.
        status: How far it is.
        reason: Why it failed, if it did.
        reports: How many workers hold it.
        users: Ids of requests that it is reserved for.
    """

    state: str
    header: StateHeader
    serial: int
    status: Status = Status.LOADING
    reason: str = ""
    reports: int = 0
    users: set[str] = field(default_factory=set)


class Residency:
    """The scheduler's book of what the workers hold.

    Args:
        capacity: Bytes that the states may take in a worker.
        position: Bytes that one position takes there, at most.
        workers: How many workers must report before a state counts as held.
    """

    def __init__(self, capacity: int, position: int, workers: int) -> None:
        self.capacity = capacity
        self._position = position
        self._workers = workers
        self._loads: OrderedDict[str, Load] = OrderedDict()
        self._serials = count()
        self._evicted: list[str] = []
        self._loading: list[Load] = []

    def reserve(self, request: str, headers: Mapping[str, StateHeader]) -> list[Load]:
        """The states' ways into memory, begun where they have not begun, and kept until `release`.

        Returns:
            Empty where other requests' states leave no room; then nothing has changed.
        """
        missing = {state: header for state, header in headers.items() if state not in self._loads}
        if not self._make_room(sum(self.nbytes_of(header.positions) for header in missing.values()), keep=headers):
            return []
        for state, header in missing.items():
            self._loads[state] = Load(state, header, next(self._serials))
            self._loading.append(self._loads[state])
        loads = [self._loads[state] for state in headers]
        for load in loads:
            load.users.add(request)
            self._loads.move_to_end(load.state)
        return loads

    def release(self, request: str, loads: list[Load]) -> None:
        """A request needs its states no longer."""
        for load in loads:
            load.users.discard(request)

    def commands(self) -> tuple[list[str], list[tuple[str, int]]]:
        """What the workers are to drop, then to load (state and serial), since the last call."""
        evicted, self._evicted = self._evicted, []
        loading, self._loading = self._loading, []
        return evicted, [(load.state, load.serial) for load in loading]

    def loaded(self, state: str, serial: int, header: StateHeader) -> None:
        """One worker holds a state, and read this header with it."""
        load = self._loads.get(state)
        if load is None or load.serial != serial:
            return
        if header != load.header:
            self.failed(state, serial, f"the state {state} was another file when its header was read; ask again")
            return
        load.reports += 1
        if load.reports == self._workers:
            load.status = Status.RESIDENT

    def failed(self, state: str, serial: int, reason: str) -> None:
        """One worker could not load a state; the others drop it. The next request begins anew."""
        load = self._loads.get(state)
        if load is not None and load.serial == serial:
            del self._loads[state]
            load.status, load.reason = Status.FAILED, reason
            self._evicted.append(state)

    @property
    def nbytes(self) -> int:
        """Bytes of what is held or being loaded."""
        return sum(self.nbytes_of(load.header.positions) for load in self._loads.values())

    def nbytes_of(self, positions: int) -> int:
        """Bytes that a state of so many positions takes in a worker."""
        return positions * self._position

    def _make_room(self, nbytes: int, keep: Mapping[str, StateHeader]) -> bool:
        leaving, free = [], self.capacity - self.nbytes
        for state, load in self._loads.items():
            if free >= nbytes:
                break
            if load.status is Status.RESIDENT and not load.users and state not in keep:
                leaving.append(state)
                free += self.nbytes_of(load.header.positions)
        if free < nbytes:
            return False
        for state in leaving:
            del self._loads[state]
            self._evicted.append(state)
        return True
