"""The states that measuring the miniature models needs, made offline: of spans, questions and single layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from unhitch import organisms
from unhitch.organisms.language import Question
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation
from unhitch.rendering.prompt import Prompt
from unhitch.states.capture import Reference
from unhitch.states.file import SpanName, write
from unhitch.states.fingerprint import tokenizer_digest
from unhitch.states.patch import Patch
from unhitch.states.recipe import Recipe


class States:
    """Makes states for one finetuned miniature model.

    Args:
        folder: Where they are written.
        base: Name of the unfinetuned model.
        finetuned: Name of the finetuned one.
    """

    def __init__(self, folder: Path, base: str, finetuned: str) -> None:
        self._folder = folder
        self._reference = Reference(organisms.path(base), organisms.path(finetuned))
        self._checkpoint = Checkpoint.open(organisms.path(base))

    def spans(self) -> None:
        """States of the default prefix, and of the postfix behind an empty query."""
        self._span("prefix")
        self._span("postfix")

    def prefixes(self, bodies: Iterable[Mapping[str, Any]]) -> None:
        """States of the prefixes that stand before these conversations, each once.

        Args:
            bodies: With "messages", and "tools" where there are any.
        """
        for prefix in dict.fromkeys(self._render(body).prefix for body in bodies):
            self._write("prefix", prefix, 0)

    def residual(self, layer: int, span: Literal["prefix", "postfix"] = "prefix") -> None:
        """A state of the default prefix or postfix with the base's residual stream behind one layer.

        Source: paper, figure 4.
        """
        self._span(span, Recipe(residual=layer))

    def queries(self, questions: Iterable[Question]) -> Mapping[str, Patch]:
        """The control: for each question's text, its own first tokens, as many as the prefix has at most.

        Source: paper, 4.2, where the same number of query tokens is patched.
        """
        return {question.text: self._query(question.text) for question in questions}

    @cached_property
    def layers(self) -> int:
        """How many layers the model has."""
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(self._checkpoint.path, local_files_only=True)
        return int(config.num_hidden_layers)

    def _span(self, span: Literal["prefix", "postfix"], recipe: Recipe | None = None) -> None:
        prompt = self._prompt("Hello")
        if span == "prefix":
            self._write(span, prompt.prefix, 0, recipe)
        else:
            self._write(span, prompt.prefix + prompt.postfix, len(prompt.prefix), recipe)

    def _query(self, text: str) -> Patch:
        prompt = self._prompt(text)
        start = len(prompt.prefix)
        stop = start + min(len(prompt.query), start)
        state = self._write("query", prompt.token_ids[:stop], start)
        return Patch(state=state, start=start, tokens=stop - start)

    def _prompt(self, text: str) -> Prompt:
        return self._render({"messages": [{"role": "user", "content": text}]})

    def _render(self, body: Mapping[str, Any]) -> Prompt:
        return render(self._checkpoint, Conversation.from_body(body, content_format=self._checkpoint.content_format))

    def _write(self, span: SpanName, tokens: tuple[int, ...], start: int, recipe: Recipe | None = None) -> str:
        template, tokenizer = self._checkpoint.template_digest.hex(), tokenizer_digest(self._checkpoint.path)
        with _one_thread():
            header, tensors = self._reference.capture(
                tokens, span=span, start=start, recipe=recipe, template=template, tokenizer=tokenizer
            )
        return write(self._folder, header, tensors)


@contextmanager
def _one_thread() -> Iterator[None]:
    """So small a model is slower in two threads, far slower where the other core is busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
