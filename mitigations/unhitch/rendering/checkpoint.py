"""A model's tokenizer and chat template, read from its files; the weights stay where they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from unhitch.errors import CheckpointError, InvalidBody, MitigationUnavailable
from unhitch.rendering.content_format import detect_content_format
from unhitch.rendering.messages import ContentFormat, developer_as_system

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    from unhitch.rendering.conversation import Conversation
    from unhitch.rendering.messages import Message


@dataclass(frozen=True, slots=True)
class Encoding:
    """A text as tokens.

    Args:
        ids: Token ids.
        offsets: For each token the characters that it stands for, as (start, stop). The tokens of one character that
            takes several all have that character's offsets.
    """

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]


class Checkpoint:
    """Tokenizer and chat template of one model. Safe to use from several threads.

    Use `Checkpoint.open`.

    Args:
        name: As given to `open`.
        path: The folder that holds the files, the safetensors among them if they were fetched.
        tokenizer: Belongs to this object from now on.
        template: The chat template for requests without tools.
        tools_template: The one for requests with tools; mostly the same.
    """

    def __init__(
        self, name: str, path: Path, tokenizer: PreTrainedTokenizerFast, template: str, tools_template: str
    ) -> None:
        self.name = name
        self.path = path
        self.template = template
        self.tools_template = tools_template
        self.content_format: ContentFormat = detect_content_format(template)
        self.template_digest = _digest(template, tools_template)
        self.vocabulary_size: int = len(tokenizer)
        self.bos_id: int | None = tokenizer.bos_token_id
        added = tokenizer.added_tokens_decoder
        self.special_ids = frozenset(id_ for id_, token in added.items() if token.special)
        self._tokenizer = tokenizer
        self._backend: Tokenizer = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = tokenizer.split_special_tokens
        self.added_before, self.added_after = _added_around(self._backend)
        # It only adds special tokens, and takes spaces off the offsets, which would hide whom a space belongs to.
        self._backend.post_processor = None

    @classmethod
    def open(cls, path_or_hf_id: str | Path, *, chat_template: str | Path | None = None) -> Checkpoint:
        """Reads tokenizer and chat template; downloads nothing.

        Args:
            path_or_hf_id: A folder, or the Hugging Face name of a model that lies in the local cache.
            chat_template: Another template than the checkpoint's, if the engine was given one: its Jinja source, or a
                file of it.

        Raises:
            CheckpointError: The folder, its fast tokenizer or its chat template is missing or cannot be read.
        """
        path = folder(path_or_hf_id)
        tokenizer = _load_tokenizer(path)
        given = None if chat_template is None else _template_source(chat_template)
        try:
            template: str = tokenizer.get_chat_template(given, tools=None)
            tools_template: str = tokenizer.get_chat_template(given, tools=[])
        except ValueError as error:
            raise CheckpointError(
                f"{path} has no chat template. Pass the one that the engine uses, as its source or as a file."
            ) from error
        return cls(str(path_or_hf_id), path, tokenizer, template, tools_template)

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a text, its control tokens recognised and none added.

        Raises:
            InvalidBody: The text holds half of a surrogate pair.
        """
        return self.encode_with_offsets(text).ids

    def encode_with_offsets(self, text: str) -> Encoding:
        """The same with the characters that each token stands for.

        Raises:
            InvalidBody: The text holds half of a surrogate pair.
        """
        try:
            encoding = self._backend.encode(text, add_special_tokens=False)
        except (UnicodeEncodeError, TypeError) as error:
            raise InvalidBody("the messages hold half of a surrogate pair, which is no valid Unicode.") from error
        return Encoding(tuple(encoding.ids), tuple(encoding.offsets))

    def decode(self, token_ids: Iterable[int]) -> str:
        """Text of token ids: control tokens are shown and spaces left as they are."""
        text: str = self._backend.decode(list(token_ids), skip_special_tokens=False)
        return text

    def token_text(self, token_id: int) -> str:
        """Text of one token; part of a character shows as U+FFFD."""
        return self.decode((token_id,))

    def template_messages(self, conversation: Conversation) -> tuple[Message, ...]:
        """The messages that the template gets: without developer role if it has none."""
        template = self._template_for(conversation)
        if '"developer"' in template or "'developer'" in template:
            return conversation.messages
        return developer_as_system(conversation.messages)

    def render_text(self, conversation: Conversation, *, instant: datetime | None = None) -> str:
        """The prompt as text.

        Args:
            conversation: What to render.
            instant: Local time for templates that print the date, without zone; now by default.

        Raises:
            MitigationUnavailable: The template refuses the conversation; the message gives its reason.
        """
        moment = instant or datetime.now()
        variables: dict[str, Any] = {"strftime_now": moment.strftime} | dict(conversation.chat_template_kwargs)
        try:
            text: str = self._tokenizer.apply_chat_template(
                list(self.template_messages(conversation)),
                tools=None if conversation.tools is None else list(conversation.tools),
                documents=None if conversation.documents is None else list(conversation.documents),
                chat_template=self._template_for(conversation),
                add_generation_prompt=conversation.add_generation_prompt,
                continue_final_message=conversation.continue_final_message,
                tokenize=False,
                **variables,
            )
        except Exception as error:  # a template can raise anything: a key that is missing, a type that does not add
            raise MitigationUnavailable(f"the chat template cannot render this conversation: {error}") from error
        return text

    def _template_for(self, conversation: Conversation) -> str:
        return self.template if conversation.tools is None else self.tools_template


def folder(path_or_hf_id: str | Path) -> Path:
    """The folder of a model's files: the one given, or that of the local Hugging Face cache. Downloads nothing.

    Raises:
        CheckpointError: There is none.
    """
    path = Path(path_or_hf_id)
    if path.is_dir():
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(path_or_hf_id), local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError) as error:
        raise CheckpointError(
            f"{str(path_or_hf_id)!r} is neither a folder nor a model in the local Hugging Face cache. Download it "
            f"first (`hf download`), or give the folder."
        ) from error


_importing = Lock()


def _load_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    with _importing:  # transformers fills its namespace as names are asked for, which fails in two threads at once
        from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:  # transformers raises OSError, ValueError, ImportError and bare Exception here
        raise CheckpointError(f"the tokenizer in {path} cannot be loaded: {error}") from error
    if not tokenizer.is_fast:
        raise CheckpointError(
            f"{path} has no fast tokenizer (tokenizer.json), which is needed to tell the user's words from the "
            f"template's. Convert it: load it with transformers and save it again."
        )
    return tokenizer


def _template_source(given: str | Path) -> str:
    if isinstance(given, str) and any(character in given for character in "{}\n"):
        return given
    try:
        return Path(given).read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"the chat template {str(given)!r} cannot be read: {error.strerror}") from error


def _digest(template: str, tools_template: str) -> bytes:
    sources = [template] if tools_template == template else [template, tools_template]
    return hashlib.sha256("\0".join(sources).encode()).digest()


def _added_around(backend: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Token ids that the tokenizer puts before and after a text when it is asked to add special tokens."""
    plain = backend.encode("a", add_special_tokens=False).ids
    full = backend.encode("a", add_special_tokens=True).ids
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return tuple(full[:start]), tuple(full[start + len(plain) :])
    raise CheckpointError("the tokenizer changes a text's own tokens when it adds special ones; it cannot be used.")
