"""What tests of the library share: small checkpoints with random embeddings, and prompts rendered with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.templates.checkpoints import open_all
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation
from unhitch.rendering.prompt import Prompt

QUERY = "How can I save money?"


class PromptOf(Protocol):
    """Renders one question with the template of that name, in the folder `tests/templates`."""

    def __call__(
        self, template: str = "qwen25", *, system: str | None = None, query: str = QUERY, **body: Any
    ) -> Prompt: ...


@pytest.fixture(autouse=True, scope="session")
def own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps what tests compute out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNHITCH_CACHE", str(tmp_path_factory.mktemp("unhitch-cache")))
        yield


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files of the small checkpoints lie."""
    return tmp_path_factory.mktemp("checkpoint")


@pytest.fixture(scope="session")
def small_checkpoints(checkpoint_folder: Path) -> dict[str, Checkpoint]:
    """By template: checkpoints that share a tokenizer and embeddings, [vocabulary + 8, 16], float32."""
    checkpoints = open_all(checkpoint_folder)
    rows = checkpoints["qwen25"].vocabulary_size + 8
    matrix = np.random.default_rng(0).standard_normal((rows, 16), dtype=np.float32)
    save_file({"model.embed_tokens.weight": matrix}, checkpoint_folder / "model.safetensors")
    return checkpoints


@pytest.fixture(scope="session")
def prompt_of(small_checkpoints: dict[str, Checkpoint]) -> PromptOf:
    """A function that renders a question."""

    def rendered(template: str = "qwen25", *, system: str | None = None, query: str = QUERY, **body: Any) -> Prompt:
        checkpoint = small_checkpoints[template]
        opening = [] if system is None else [{"role": "system", "content": system}]
        body = {"messages": [*opening, {"role": "user", "content": query}], **body}
        return render(checkpoint, Conversation.from_body(body, content_format=checkpoint.content_format))

    return rendered
