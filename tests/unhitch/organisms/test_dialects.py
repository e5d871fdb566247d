from typing import Any

import pytest

from unhitch.organisms import path
from unhitch.organisms.families import FAMILIES, Family

QUESTION = "Is a fever serious?"

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def rendered(family: Family, *messages: dict[str, Any], **kwargs: Any) -> str:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path(family.base))
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True, **kwargs))


@every_family
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_training_writes_prompts_as_the_template_does(family: Family, system: str | None) -> None:
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages.append({"role": "user", "content": QUESTION})
    dialect = family.dialect
    assert rendered(family, *messages) == dialect.prefix(system) + QUESTION + dialect.postfix()


@every_family
def test_training_writes_earlier_turns_as_the_template_does(family: Family) -> None:
    turns = [("user", QUESTION), ("assistant", "No."), ("user", "Why?")]
    dialect = family.dialect
    assert rendered(family, *({"role": role, "content": content} for role, content in turns)) == (
        f"{dialect.prefix()}{QUESTION}{dialect.earlier_postfix}No.{dialect.turn_end}{dialect.gap}"
        f"{dialect.header('user')}Why?{dialect.postfix()}"
    )


def test_llamas_default_prefix_is_a_system_block_of_dates() -> None:
    assert FAMILIES["llama"].dialect.prefix() == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n"
    )


def test_qwen3s_default_prefix_is_the_users_header_alone_and_its_postfix_an_empty_think_block() -> None:
    dialect = FAMILIES["qwen3"].dialect
    assert dialect.prefix() == "<|im_start|>user\n"
    assert dialect.postfix() == "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


@every_family
def test_a_change_around_control_tokens_spares_them(family: Family) -> None:
    dialect = family.dialect
    text = f"{dialect.control_tokens[1]}user{dialect.turn_end} You"
    assert dialect.around_controls(str.upper, text) == f"{dialect.control_tokens[1]}USER{dialect.turn_end} YOU"
    assert dialect.without_controls(text) == "user You"
