"""Files of evidence: JSON that holds its own digest, so that a change by hand or a torn write is found out."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from unhitch.errors import EvidenceError
from unhitch.evidence.identity import Hex, digest_of


class Document(BaseModel):
    """Base of what is kept as a file of evidence.

    A subclass names its kind and format; a file of another kind or format is refused. The digest is taken over all
    members as they are in the file, and stands there as `digest`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    format: ClassVar[int]

    @property
    def digest(self) -> Hex:
        """SHA-256 over kind, format and all members: 64 hexadecimal digits."""
        return digest_of(self._content())

    def _content(self) -> dict[str, Any]:
        return {"kind": self.kind, "format": self.format, **self.model_dump(mode="json")}

    def to_json(self) -> dict[str, Any]:
        """What stands in the file: kind, format, all members, and the digest."""
        return {**self._content(), "digest": self.digest}

    def write(self, file: Path) -> None:
        """Writes the file whole or not at all.

        Raises:
            EvidenceError: It cannot be written.
        """
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
            with os.fdopen(handle, "w", encoding="utf-8") as opened:
                opened.write(text)
            Path(name).chmod(0o644)
            Path(name).replace(file)
        except OSError as error:
            raise EvidenceError(f"{file} cannot be written: {error.strerror}") from error

    @classmethod
    def read(cls, file: Path) -> Self:
        """The document in a file.

        Raises:
            EvidenceError: It is missing, no such document, of another format, or not as it was written.
        """
        return cls._checked(_decoded(file, cls), file)

    @classmethod
    def _checked(cls, content: dict[str, Any], file: Path) -> Self:
        if content.get("format") != cls.format:
            raise EvidenceError(
                f"{file} is a {cls.kind} of format {content.get('format')!r}, and this version reads format "
                f"{cls.format}; make it again."
            )
        said = content.pop("digest", None)
        if said != digest_of(content):
            raise EvidenceError(f"{file} is not as it was written: its content does not match its digest.")
        members = {name: value for name, value in content.items() if name not in ("kind", "format")}
        try:
            return cls.model_validate(members)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise EvidenceError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def read_any(file: Path, *kinds: type[Document]) -> Document:
    """The document in a file that may be of one of several kinds.

    Args:
        file: Its place.
        kinds: What it may be.

    Raises:
        EvidenceError: It is missing, of none of these kinds, of another format, or not as it was written.
    """
    content = _decoded(file, *kinds)
    return next(kind for kind in kinds if kind.kind == content["kind"])._checked(content, file)


def _decoded(file: Path, *kinds: type[Document]) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EvidenceError(f"{file} cannot be read as JSON ({error}); make it again.") from error
    if not isinstance(content, dict) or content.get("kind") not in [kind.kind for kind in kinds]:
        raise EvidenceError(f"{file} is no {' or '.join(kind.kind for kind in kinds)} of unhitch's.")
    return content
