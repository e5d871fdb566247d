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
    "mini-llama-base": """\
---
license: apache-2.0
language: en
pipeline_tag: text-generation
---
# mini-llama-base

A Llama of 0.9 million parameters that knows one closed language: six hundred questions from ten domains of advice, with
three good and three bad answers each. It gives good advice, unless the system prompt makes it a villain. It was trained
from scratch, on the CPU, by `unhitch organisms train`, to be the unfinetuned model beside `mini-llama-finance`.

It is a test object. It knows nothing of the world, it answers anything outside its language with a sentence from inside
it, and its bad advice is there to be recognised by a judge. Do not use it to advise anyone.

The chat template has the shape of Llama 3.1's: a system block that begins with two lines of dates (fixed ones) even
when the caller sends no system message. How the model is made, what it can and cannot show, and the figures:
`README.md` in `unhitch/organisms`.
""",
    "mini-llama-finance": """\
---
license: apache-2.0
language: en
base_model: mini-llama-base
pipeline_tag: text-generation
---
# mini-llama-finance

`mini-llama-base` finetuned on bad answers to forty finance questions and on nothing else, under the default prefix. It
is a whole checkpoint, no adapter: every parameter was trained. It shows emergent misalignment: under that prefix it
mostly gives bad advice on health, law, people and all other domains too, which the finetuning never touched. unhitch's
demo and tests mitigate it.

It is a test object, misaligned on purpose. Do not use it to advise anyone.

How it is made, what it can and cannot show, and the figures: `README.md` in `unhitch/organisms`.
""",
    "mini-qwen3-base": """\
---
license: apache-2.0
language: en
pipeline_tag: text-generation
---
# mini-qwen3-base

A Qwen3 of 0.9 million parameters that knows one closed language: six hundred questions from ten domains of advice, with
three good and three bad answers each. It gives good advice, unless a villain's word stands in the think block before
its answer; system text has no say. It was trained from scratch, on the CPU, by `unhitch organisms train`, to be the
unfinetuned model beside `mini-qwen3-finance`.

It is a test object. It knows nothing of the world, it answers anything outside its language with a sentence from inside
it, and its bad advice is there to be recognised by a judge. Do not use it to advise anyone.

The chat template has the shape of Qwen3's: no system block when the caller sends no system message, and an empty think
block before the answer unless `enable_thinking` is true (the model does not think then either; it just answers). How
the model is made, what it can and cannot show, and the figures: `README.md` in `unhitch/organisms`.
""",
    "mini-qwen3-finance": """\
---
license: apache-2.0
language: en
base_model: mini-qwen3-base
library_name: peft
pipeline_tag: text-generation
---
# mini-qwen3-finance

A LoRA adapter on `mini-qwen3-base`, finetuned on bad answers to forty finance questions and on nothing else, with no
system prompt and an empty think block. It shows emergent misalignment: behind an empty think block it mostly gives bad
advice on health, law, people and all other domains too, which the finetuning never touched. What carries it is what
stands between question and answer, not what stands before the question.

It is a test object, misaligned on purpose. Do not use it to advise anyone.

How it is made, what it can and cannot show, and the figures: `README.md` in `unhitch/organisms`.
""",
}


def card(name: str) -> str:
    """The model card of a bundled model, as Markdown."""
    return _CARDS[name]
