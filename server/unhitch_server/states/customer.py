"""A served model, what identifies it, and the command that makes a state which it misses."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from unhitch.errors import StateMissing
from unhitch.evidence.identity import ModelIdentity
from unhitch.rendering.checkpoint import Checkpoint
from unhitch_server.config import Config


@dataclass(frozen=True, slots=True)
class Customer:
    """A served model whose mitigation has been seen to work.

    Args:
        name: Its served name.
        checkpoint: Its tokenizer and template; an adapter has those of its base.
        root: Where its own weights lie, as the engine says.
        base: The served name of what it sits on, where it is an adapter.
        identity: Digests of its files; None where they cannot be read where the proxy runs.
        unidentified: Why they cannot.
    """

    name: str
    checkpoint: Checkpoint
    root: str
    base: str | None = None
    identity: ModelIdentity | None = None
    unidentified: str = ""

    def command(self, missing: StateMissing, folder: str, config: Config) -> str:
        """A sentence with the command that makes what is missing; none where no command can, or where it is there.

        Args:
            missing: What is missing.
            folder: Where the engine looks for states.
            config: Gives the engine's template, if it was given one.
        """
        if missing.wanted.state is not None:
            return ""
        if missing.options is None:
            return "No command makes it, since strategies edited the tokens before."
        is_adapter = self.base is not None
        words = ["unhitch", "capture", self.checkpoint.name if is_adapter else "BASE"]
        if missing.wanted.recipe.needs_finetuned or not is_adapter:
            words += ["--finetuned", self.root]
        words += ["--states", folder, *missing.options]
        words += ["--chat-template", "FILE"] if config.chat_template is not None else []
        return f"Make it: `{shlex.join(words)}`."
