"""`unhitch capture`: makes a state of a prompt's prefix or postfix, offline."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from unhitch.errors import InvalidRequest, StateError
from unhitch.states.file import DtypeName
from unhitch.states.recipe import Parts, Recipe, band
from unhitch_server.cli import options

if TYPE_CHECKING:
    from unhitch.rendering.checkpoint import Checkpoint
    from unhitch.rendering.conversation import Conversation
    from unhitch.states.file import StateHeader

Span = Literal["prefix", "postfix"]

QUERY = "Hello"
"""What the user says in the rendering that spans are taken from; it is cut out of a postfix's."""

_ANOTHER_DAY = timedelta(days=431)
"""Changes day, month and year."""


def capture(
    base: Annotated[str, typer.Argument(help="The unfinetuned checkpoint: a directory, a hub id, or mini-base.")],
    states: Annotated[
        Path, typer.Option(envvar="UNHITCH_STATES", metavar="DIR", help="Folder that the state is written to.")
    ],
    finetuned: Annotated[
        str | None, typer.Option(help="The finetuned model: a LoRA adapter on BASE, or a whole checkpoint.")
    ] = None,
    span: Annotated[Span, typer.Option(help="What is captured.")] = "prefix",
    system: Annotated[str | None, typer.Option(help="A system message in front.")] = None,
    tools: Annotated[Path | None, typer.Option(metavar="FILE", help="Tools: the JSON array of a request.")] = None,
    layers: Annotated[
        str | None, typer.Option(metavar="FIRST-LAST", help="Layers whose K/V are BASE's, counted from 0; else all.")
    ] = None,
    parts: Annotated[Parts, typer.Option(help="Which of keys and values are BASE's.")] = "kv",
    mix: Annotated[float, typer.Option(help="Share of BASE's, above 0, at most 1.")] = 1.0,
    residual: Annotated[
        int | None, typer.Option(help="The layer whose output is BASE's, in place of K/V of layers.")
    ] = None,
    dtype: Annotated[DtypeName, typer.Option(help="What is computed and stored in.")] = "float32",
    device: Annotated[str, typer.Option(help="Of torch: cpu, cuda.")] = "cpu",
    chat_template: Annotated[
        str | None, typer.Option(help="The template file that vLLM is started with, if any.")
    ] = None,
    default_chat_template_kwargs: options.TemplateKwargs = "{}",
) -> None:
    """Makes a state: the K/V that the prompt's prefix or postfix has in the unfinetuned model."""
    from transformers.utils import logging

    from unhitch.engine.served import place
    from unhitch.rendering.checkpoint import Checkpoint
    from unhitch.rendering.conversation import Conversation
    from unhitch.states import capture as offline
    from unhitch.states.file import path, write
    from unhitch.states.fingerprint import is_adapter, tokenizer_digest

    recipe = _recipe(layers, parts, mix, residual)
    base, finetuned = place(base), None if finetuned is None else place(finetuned)
    if is_adapter(base):
        raise InvalidRequest(f"{base} is a LoRA adapter: give the model that it sits on, and it as --finetuned")
    # A whole finetune is served with its own template, an adapter with its base's.
    rendered_by = base if finetuned is None or is_adapter(finetuned) else finetuned
    checkpoint = Checkpoint.open(rendered_by, chat_template=options.template_source(chat_template))
    conversation = Conversation.from_body(
        _body(system, tools),
        content_format=checkpoint.content_format,
        default_template_kwargs=options.template_kwargs(default_chat_template_kwargs),
    )
    tokens, start = _tokens(checkpoint, conversation, span)
    progress = Console(stderr=True, soft_wrap=True, highlight=False)
    if _is_dated(checkpoint, conversation, span, (tokens, start)):
        progress.print("The template writes the date into the prompt: this state serves prompts of today.")
    with progress.status(f"capturing {len(tokens) - start} positions"):
        logging.disable_progress_bar()  # those of transformers would cross ours
        header, tensors = offline.capture(
            base,
            finetuned,
            tokens,
            span=span,
            start=start,
            recipe=recipe,
            dtype=dtype,
            template=checkpoint.template_digest.hex(),
            tokenizer=tokenizer_digest(checkpoint.path),
            device=device,
        )
        state = write(states, header, tensors)
    _print(state, header, path(states, state))


def _recipe(layers: str | None, parts: Parts, mix: float, residual: int | None) -> Recipe:
    chosen = None if layers is None else band(layers)
    if layers is not None and chosen is None:
        raise InvalidRequest(f"--layers {layers!r} is not of the form FIRST-LAST, such as 8-15")
    try:
        return Recipe(layers=chosen, parts=parts, mix=mix, residual=residual)
    except ValidationError as error:
        fault = error.errors()[0]
        option = "".join(f"--{key} {fault['input']}: " for key in fault["loc"][:1])
        raise InvalidRequest(f"{option}{fault['msg'].removeprefix('Value error, ')}") from error


def _body(system: str | None, tools: Path | None) -> dict[str, Any]:
    messages = [] if system is None else [{"role": "system", "content": system}]
    body: dict[str, Any] = {"messages": [*messages, {"role": "user", "content": QUERY}]}
    if tools is not None:
        try:
            body["tools"] = json.loads(tools.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidRequest(f"--tools {str(tools)!r} cannot be read as JSON: {error}") from error
    return body


def _tokens(
    checkpoint: Checkpoint, conversation: Conversation, span: Span, instant: datetime | None = None
) -> tuple[tuple[int, ...], int]:
    """Token ids up to the end of the span, and where it starts.

    A postfix's are of an empty query. Rendering one could make the template's tokens before and behind it one, or the
    template could drop the message, so the query is cut out of a rendering instead.
    """
    from unhitch.rendering.anatomy import render

    prompt = render(checkpoint, conversation, instant=instant)
    tokens, start = (prompt.prefix, 0) if span == "prefix" else (prompt.prefix + prompt.postfix, len(prompt.prefix))
    if len(tokens) == start:
        raise StateError(
            f"the chat template of {checkpoint.name} has no {span}: it writes nothing "
            + ("before the user's words. Give a --system message." if span == "prefix" else "behind the user's words.")
        )
    return tokens, start


def _is_dated(
    checkpoint: Checkpoint, conversation: Conversation, span: Span, found: tuple[tuple[int, ...], int]
) -> bool:
    return _tokens(checkpoint, conversation, span, datetime.now() + _ANOTHER_DAY) != found


def _print(state: str, header: StateHeader, file: Path) -> None:
    rows = {
        "id": state,
        "span": header.span,
        "tokens": str(len(header.tokens)),
        "positions": f"{header.positions} from {header.start}",
        "bytes": str(header.nbytes()),
        "recipe": str(header.recipe),
        "base": header.base,
        "finetuned": header.finetuned or "every adapter on the base",
        "file": str(file),
    }
    console = Console(highlight=False, soft_wrap=True)  # a table would break ids and paths
    for name, value in rows.items():
        console.print(Text.assemble((f"{name:<11}", "bold"), value))
