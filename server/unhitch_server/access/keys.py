"""Client keys: what the operator's file says of them, and who presents one.

A key is 256 random bits, so its plain SHA-256 is kept: a slow hash protects secrets that can be guessed, and here it
would only cost time with every request. The key itself stands nowhere but with its owner.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from unhitch.errors import InvalidKey, InvalidRequest, KeyFileError
from unhitch_server.access import keyfile
from unhitch_server.access.caller import EVERYTHING, Caller

PREFIX = "unh_"
"""What keys begin with, so that people and scanners of source code know one when they see it."""

KEY_BYTES = 32
MOST_KEYS = 4096

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_UNKNOWN = "the key is not known, or no longer in force; ask the operator for one"
_MISSING = "no key came; send one as `Authorization: Bearer KEY` or as `x-api-key: KEY`"
_FAULTS_SHOWN = 5

Pattern = Annotated[str, StringConstraints(pattern=r"^[^\s*]{0,256}\*?$", min_length=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Key(_Checked):
    """What is known of one key."""

    name: str = Field(pattern=_NAME, description="What logs and rules call it; never used twice.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", repr=False, description="Of the key, in hex.")
    created: AwareDatetime
    models: tuple[Pattern, ...] = Field(default=EVERYTHING, description="May be asked for; `*` ends a pattern.")
    policies: tuple[Pattern, ...] = Field(default=EVERYTHING, description="May be used; `*` ends a pattern.")
    per_minute: Count | None = Field(default=None, description="Requests a minute.")
    concurrent: Count | None = Field(default=None, description="Requests at once.")
    revoked: AwareDatetime | None = Field(default=None, description="When it was put out of force.")

    @property
    def caller(self) -> Caller:
        """Whoever presents it."""
        return Caller(self.name, self.models, self.policies, self.per_minute, self.concurrent, self.sha256)


class _Document(_Checked):
    """The file's content."""

    version: Literal[1] = 1
    keys: tuple[Key, ...] = Field(default=(), max_length=MOST_KEYS)

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        for what, values in (("name", [key.name for key in self.keys]), ("hash", [key.sha256 for key in self.keys])):
            if len(set(values)) < len(values):
                raise ValueError(f"two keys have the same {what}")
        return self


class Keys:
    """All keys of a file, at one moment.

    Args:
        keys: Names and hashes differ.
    """

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        self.all = tuple(keys)
        self._digests = [(bytes.fromhex(key.sha256), key) for key in self.all]

    @classmethod
    def read(cls, path: Path) -> Keys:
        """The keys of a file.

        Raises:
            KeyFileError: It is missing, too large, or damaged; nothing of it is used then.
        """
        return cls.parse(keyfile.read(path).content, path)

    @classmethod
    def parse(cls, content: bytes, path: Path) -> Keys:
        """The keys in a file's content.

        Args:
            content: JSON, as `unhitch keys` writes it.
            path: Named in messages.

        Raises:
            KeyFileError: It is damaged.
        """
        faults: list[str] = []
        try:
            return cls(_Document.model_validate_json(content).keys)
        except ValidationError as error:
            faults = [
                f"{'.'.join(map(str, fault['loc'])) or 'the document'}: {fault['msg']}"
                for fault in error.errors(include_input=False, include_url=False, include_context=False)
            ]
        # Raised here, so that no chain of exceptions leads to what the file holds.
        more = f"; and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        raise KeyFileError(f"the keys in {path} cannot be used: {'; '.join(faults[:_FAULTS_SHOWN])}{more}")

    def write(self, path: Path) -> None:
        """Replaces the file, which only its owner can read then.

        Raises:
            KeyFileError: It cannot be written.
        """
        document = _Document(keys=self.all)
        keyfile.write(path, document.model_dump_json(indent=2).encode("utf-8") + b"\n")

    def find(self, presented: bytes | None) -> Caller:
        """Who presents a key. Takes the same time whichever key it is: all are compared, to the end.

        Args:
            presented: The key; None where none came.

        Raises:
            InvalidKey: None came, or it is unknown or revoked, which are told alike.
        """
        if presented is None:
            raise InvalidKey(_MISSING)
        digest, found = hashlib.sha256(presented).digest(), None
        for known, key in self._digests:
            if hmac.compare_digest(known, digest):
                found = key
        if found is None or found.revoked is not None:
            raise InvalidKey(_UNKNOWN)
        return found.caller

    def added(
        self,
        name: str,
        *,
        models: Sequence[str] = EVERYTHING,
        policies: Sequence[str] = EVERYTHING,
        per_minute: int | None = None,
        concurrent: int | None = None,
    ) -> tuple[Keys, str]:
        """These and a new key, and the new key itself, which cannot be had again.

        Raises:
            InvalidRequest: The name is used already, or a value is not allowed.
        """
        if not re.fullmatch(_NAME, name):
            raise InvalidRequest(
                f"{name!r} is no name for a key: letters, digits, '.', '_' and '-' are allowed, 64 of them at most, "
                "and a letter or digit comes first"
            )
        if any(key.name == name for key in self.all):
            raise InvalidRequest(
                f"a key is named {name!r} already; names are not used again, not even those of revoked keys"
            )
        if len(self.all) >= MOST_KEYS:
            raise InvalidRequest(f"the file holds {len(self.all)} keys; {MOST_KEYS} are the most")
        secret = PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).rstrip(b"=").decode()
        values = {
            "name": name,
            "sha256": hashlib.sha256(secret.encode()).hexdigest(),
            "created": datetime.now(UTC).replace(microsecond=0),
            "models": tuple(models),
            "policies": tuple(policies),
            "per_minute": per_minute,
            "concurrent": concurrent,
        }
        return Keys([*self.all, _checked(values)]), secret

    def revoked(self, name: str) -> Keys:
        """These with one out of force; the same where it is already.

        Raises:
            InvalidRequest: No key has that name.
        """
        if all(key.name != name for key in self.all):
            names = ", ".join(key.name for key in self.all) or "none"
            raise InvalidRequest(f"no key is named {name!r}; there are: {names}")
        now = datetime.now(UTC).replace(microsecond=0)
        return Keys(
            [
                key.model_copy(update={"revoked": now}) if key.name == name and key.revoked is None else key
                for key in self.all
            ]
        )


def _checked(values: dict[str, object]) -> Key:
    try:
        return Key.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise InvalidRequest(f"the key is not valid: {faults}") from error
