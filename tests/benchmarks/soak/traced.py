"""`unhitch` that tells what grows: from the first SIGUSR1 on, memory is traced; each one after it adds to a file.

python -m tests.benchmarks.soak.traced FILE serve ...
"""

from __future__ import annotations

import gc
import signal
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

from unhitch_server.cli import main

FRAMES = 6
SHOWN = 25


class Tracing:
    """Begins when it is first called, since what was held before is of no interest; then writes what is held still.

    Args:
        file: Where to; it is added to.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._objects: Counter[str] = Counter()

    def __call__(self, *_: object) -> None:
        gc.collect()
        objects = Counter(type(each).__qualname__ for each in gc.get_objects())
        if not tracemalloc.is_tracing():
            self._objects = objects
            tracemalloc.start(FRAMES)
            return
        held = tracemalloc.take_snapshot().statistics("traceback")
        more = sorted(((count - self._objects[name], name) for name, count in objects.items()), reverse=True)
        with self._file.open("a") as file:
            print(f"== {sum(each.size for each in held) / 2**20:.2f} MiB since the first signal", file=file)
            print("objects:", ", ".join(f"{name} {by:+d}" for by, name in more[:SHOWN] if by > 0), file=file)
            for each in held[:SHOWN]:
                print(
                    f"{each.size / 1024:.1f} KiB in {each.count} blocks", *each.traceback.format(), sep="\n", file=file
                )


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, Tracing(Path(sys.argv.pop(1))))
    main()
