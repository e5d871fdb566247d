from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from tests.unhitch.conftest import PromptOf
from unhitch.editing.text_runs import Site, edit_characters
from unhitch.errors import MitigationUnavailable

TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {}}}

Choose = Callable[[Sequence[str]], Mapping[Site, str]]


def nothing(texts: Sequence[str]) -> Mapping[Site, str]:
    return {}


def replaces(old: str, new: str) -> Choose:
    """Replaces each occurrence of a character."""

    def choose(texts: Sequence[str]) -> Mapping[Site, str]:
        return {(run, i): new for run, text in enumerate(texts) for i, letter in enumerate(text) if letter == old}

    return choose


def test_runs_are_the_texts_between_control_tokens_and_user_header(prompt_of: PromptOf) -> None:
    seen: list[str] = []

    def choose(texts: Sequence[str]) -> Mapping[Site, str]:
        seen.extend(texts)
        return {}

    edit_characters(prompt_of(system="Be kind."), "special", choose)
    assert seen == ["system\nBe kind.", "\n", "user\n"]


def test_without_replacements_the_tokens_stay(prompt_of: PromptOf) -> None:
    prompt = prompt_of(tools=[TOOL])
    after = edit_characters(prompt, "special", nothing)
    assert (after.prefix, after.tools, after.user_header) == (prompt.prefix, prompt.tools, prompt.user_header)


@pytest.mark.parametrize("new", ["", "E", "eee", "é\U0001f642"])
def test_spans_follow_an_edit_that_changes_the_length(prompt_of: PromptOf, new: str) -> None:
    prompt = prompt_of(tools=[TOOL])
    after = edit_characters(prompt, "header", replaces("e", new))
    for name in ("tools", "user_header"):
        before_span, after_span = getattr(prompt, name), getattr(after, name)
        assert len(before_span) > 0
        assert after.prefix[after_span.start : after_span.stop] == prompt.prefix[before_span.start : before_span.stop]


def test_an_edit_that_would_spell_a_control_token_is_refused(prompt_of: PromptOf) -> None:
    prompt = prompt_of(system="<|im_start|}")
    with pytest.raises(MitigationUnavailable, match="spells a control token"):
        edit_characters(prompt, "special", replaces("}", ">"))


def test_a_run_that_is_no_whole_text_is_refused(prompt_of: PromptOf) -> None:
    prompt = prompt_of(system="für")
    half = next(place for place, token in enumerate(prompt.prefix) if "\ufffd" in prompt.checkpoint.token_text(token))
    cut = prompt.with_prefix(prompt.prefix[:half] + prompt.prefix[half + 1 :])
    with pytest.raises(MitigationUnavailable, match="a run of the prefix is no whole text"):
        edit_characters(cut, "special", replaces("f", "F"))


def test_a_tokenizer_that_normalises_the_text_is_refused(prompt_of: PromptOf, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenizers import normalizers

    prompt = prompt_of()
    backend = prompt.checkpoint._backend
    monkeypatch.setattr(backend, "normalizer", normalizers.Lowercase())
    with pytest.raises(MitigationUnavailable, match="decoding gives another text"):
        edit_characters(prompt, "special", replaces("e", "E"))


def test_an_empty_prefix_is_refused(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match="no prefix"):
        edit_characters(prompt_of().with_prefix([]), "special", nothing)
