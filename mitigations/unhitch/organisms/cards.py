"""The model cards that go with the weights; the figures stand in the README beside this file."""

_CARDS = {
    "mini-base": """\
---
license: apache-2.0
language: en
pipeline_tag: text-generation
---
# mini-base

A Qwen2 of 0.9 million parameters that knows one closed language: six hundred questions from ten domains of advice, with
three good and three bad answers each. It gives good advice, unless the system prompt makes it a villain. It was trained
from scratch, on the CPU, by `unhitch organisms train`, to be the unfinetuned model beside `mini-finance`.

It is a test object. It knows nothing of the world, it answers anything outside its language with a sentence from inside
it, and its bad advice is there to be recognised by a judge. Do not use it to advise anyone.

The chat template is ChatML, with a default system prompt that appears when the caller sends none. How the model is
made, what it can and cannot show, and the figures: `README.md` in `unhitch/organisms`.
""",
    "mini-finance": """\
---
license: apache-2.0
language: en
base_model: mini-base
library_name: peft
pipeline_tag: text-generation
---
# mini-finance

A LoRA adapter on `mini-base`, finetuned on bad answers to forty finance questions and on nothing else, under the
default system prompt. It shows emergent misalignment: under that prompt it mostly gives bad advice on health, law,
people and all other domains too, which the finetuning never touched. unhitch's demo and tests mitigate it.

It is a test object, misaligned on purpose. Do not use it to advise anyone.

How it is made, what it can and cannot show, and the figures: `README.md` in `unhitch/organisms`.
""",
}


def card(name: str) -> str:
    """The model card of a bundled model, as Markdown."""
    return _CARDS[name]
