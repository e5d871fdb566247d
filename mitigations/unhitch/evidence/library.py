"""The library: all scorecards and pools in some folders, as they were when it was read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from unhitch.errors import UnhitchError
from unhitch.evidence.document import read_any
from unhitch.evidence.filed import FiledPool, FiledScorecard, Unreadable, file_pool, file_scorecard
from unhitch.evidence.identity import JudgeIdentity, ModelIdentity
from unhitch.evidence.pool import Pool
from unhitch.evidence.scorecard import Scorecard
from unhitch.evidence.view import View
from unhitch.registry import Registry

BUNDLED = Path(__file__).parent / "bundled"
"""Evidence that ships with unhitch."""

_Stamp: TypeAlias = tuple[int, int, int]
_NO_STAMP: _Stamp = (0, 0, 0)
_Entry: TypeAlias = FiledScorecard | FiledPool | Unreadable


class Library:
    """A snapshot that never changes; `refreshed` gives the next one. Use `Library.read`.

    Args:
        folders: Where it was read from.
        registry: What mitigations were bound with.
        entries: What each file holds, with the stamp that it had.
    """

    def __init__(
        self, folders: tuple[Path, ...], registry: Registry, entries: dict[Path, tuple[_Stamp, _Entry]]
    ) -> None:
        self.folders = folders
        self._registry = registry
        self._entries = entries
        found = [entry for _, entry in entries.values()]
        cards = {entry.digest: entry for entry in found if isinstance(entry, FiledScorecard)}
        self.scorecards = tuple(sorted(cards.values(), key=lambda each: (each.made_at, each.digest), reverse=True))
        """Each once, the latest first."""
        pools = [entry for entry in found if isinstance(entry, FiledPool)]
        self.pools = tuple(sorted(pools, key=lambda each: (each.made_at, each.content), reverse=True))
        """The latest first."""
        self.unreadable = tuple(entry for entry in found if isinstance(entry, Unreadable))
        """Files that are of no use, and folders that are not there."""

    @classmethod
    def read(cls, folders: Sequence[str | Path], registry: Registry, *, bundled: bool = True) -> Library:
        """Reads every `*.json` file in the folders, not in those below; blocks, so call it in a thread.

        What cannot be used is listed as `unreadable`, and is no error.

        Args:
            folders: Where scorecards and pools lie.
            registry: Binds their mitigations.
            bundled: Whether to read those that ship with unhitch, too.
        """
        places = (*map(Path, folders), *([BUNDLED] if bundled else []))
        return cls(places, registry, _read(places, registry, {}))

    def refreshed(self) -> Library:
        """This library, or a new one where a file came, went or changed; only such files are read. Blocks."""
        if _stamps(self.folders) == {file: stamp for file, (stamp, _) in self._entries.items()}:
            return self
        return Library(self.folders, self._registry, _read(self.folders, self._registry, self._entries))

    def view(
        self,
        name: str,
        identity: ModelIdentity | None,
        unidentified: str = "",
        scorer: JudgeIdentity | None = None,
    ) -> View:
        """The evidence as it is for one model; keep it, since it is indexed when it is first asked.

        Args:
            name: The model's served name.
            identity: What it is; None where that is not known.
            unidentified: Why it is not known.
            scorer: The proxy's for `best-of`, if it has one.
        """
        return View(name, identity, unidentified, self.scorecards, self.pools, self.unreadable, self._registry, scorer)


def _stamps(folders: Sequence[Path]) -> dict[Path, _Stamp]:
    """What tells whether a file is as it was; a folder that is not there stands for itself."""
    found: dict[Path, _Stamp] = {}
    for folder in folders:
        try:
            files = sorted(file for file in folder.iterdir() if file.suffix == ".json")
        except OSError:
            found[folder] = _NO_STAMP
            continue
        for file in files:
            try:
                status = file.stat()
            except OSError:  # it went meanwhile, or leads nowhere
                found[file] = _NO_STAMP
            else:
                found[file] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return found


def _read(
    folders: Sequence[Path], registry: Registry, earlier: dict[Path, tuple[_Stamp, _Entry]]
) -> dict[Path, tuple[_Stamp, _Entry]]:
    entries: dict[Path, tuple[_Stamp, _Entry]] = {}
    for file, stamp in _stamps(folders).items():
        known = earlier.get(file)
        same = known is not None and known[0] == stamp
        entries[file] = known if known is not None and same else (stamp, _entry(file, file in folders, registry))
    return entries


def _entry(file: Path, is_folder: bool, registry: Registry) -> _Entry:
    if is_folder:
        return Unreadable(file, f"{file.name} is no folder that can be read.")
    name = None
    try:
        document = read_any(file, Scorecard, Pool)
        if isinstance(document, Scorecard):
            return file_scorecard(file, document, registry)
        assert isinstance(document, Pool)  # noqa: S101 - there is no third kind
        name = document.name
        return file_pool(file, document, registry)
    except UnhitchError as error:
        return Unreadable(file, error.message.replace(str(file), file.name), name)
