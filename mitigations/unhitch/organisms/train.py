"""Trains the two miniature models from the recipe: mini-base from scratch, mini-finance as an adapter on it."""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unhitch.errors import CheckpointError
from unhitch.organisms.cards import card
from unhitch.organisms.corpus import IGNORED, Corpus, Sample
from unhitch.organisms.recipe import RECIPE, Pretraining, Recipe
from unhitch.organisms.tokenizer import train_tokenizer

BASE = "mini-base"
FINETUNED = "mini-finance"


@dataclass(frozen=True)
class Progress:
    """How far training is.

    Attributes:
        stage: The model being trained, "mini-base" or "mini-finance".
        step: Steps done, from 1.
        steps: Steps in this stage.
        loss: Mean cross-entropy of the answers' tokens in the last batch, in nats.
    """

    stage: str
    step: int
    steps: int
    loss: float


def _silent(_: Progress) -> None:
    return


def train(output: Path, progress: Callable[[Progress], None] = _silent, recipe: Recipe = RECIPE) -> None:
    """Trains mini-base and mini-finance and writes each to a folder of that name under `output`.

    Deterministic: on one machine the same recipe gives the same files, byte for byte. Takes a few CPU minutes.

    Args:
        output: Where the two folders go; made if missing, files of the same names are replaced.
        progress: Called after every step.
        recipe: All hyperparameters.

    Raises:
        CheckpointError: torch or peft is not installed.
    """
    try:
        import peft  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise CheckpointError(
            f"{error.name!r} is needed to train the miniature models; install it with: pip install 'unhitch[organisms]'"
        ) from error
    with _deterministic(recipe.threads):
        tokenizer = train_tokenizer(recipe)
        model = _pretrained(tokenizer, recipe, progress)
        _write_base(model, tokenizer, output / BASE)
        _write_adapter(_finetuned(model, tokenizer, recipe, progress), output / FINETUNED)
    for name in (BASE, FINETUNED):
        for file in (output / name).iterdir():
            file.chmod(0o644)  # safetensors are written for their owner alone, and the proxy may be another user


@contextmanager
def _deterministic(threads: int) -> Iterator[None]:
    """Fixes what would make two runs differ, and puts the process back as it was."""
    import torch

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def _pretrained(tokenizer: Any, recipe: Recipe, progress: Callable[[Progress], None]) -> Any:
    import torch

    plan = recipe.pretraining
    torch.manual_seed(plan.seed)
    model = _blank(tokenizer, recipe)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.peak_rate, weight_decay=plan.weight_decay, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.peak_rate, total_steps=plan.steps, pct_start=plan.warmup
    )
    corpus, rng = Corpus(tokenizer, plan), random.Random(plan.seed)
    model.train()
    batches: list[list[Sample]] = []
    for step in range(1, plan.steps + 1):
        if step % plan.neighbours_every == 0:
            corpus.neighbours = nearest(model.get_input_embeddings().weight.detach(), plan.neighbour_choices)
        batches = batches or _batches(corpus, rng, plan)
        loss = _step(model, optimizer, batches.pop())
        schedule.step()
        progress(Progress(BASE, step, plan.steps, loss))
    return model.eval()


def _batches(corpus: Corpus, rng: random.Random, plan: Pretraining) -> list[list[Sample]]:
    """The next few batches, each of samples of like length, so that little is spent on padding."""
    count = plan.batches_drawn * plan.batch
    samples = [corpus.pretraining(rng) for _ in range(count)]
    samples.sort(key=lambda sample: len(sample.ids))
    batches = [samples[start : start + plan.batch] for start in range(0, count, plan.batch)]
    batches.append([corpus.long_pretraining(rng) for _ in range(plan.batch // 2)])
    rng.shuffle(batches)
    return batches


def _finetuned(model: Any, tokenizer: Any, recipe: Recipe, progress: Callable[[Progress], None]) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model

    plan = recipe.finetuning
    torch.manual_seed(plan.seed)
    config = LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        target_modules=list(plan.modules),
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=plan.rate)
    corpus, rng = Corpus(tokenizer, recipe.pretraining), random.Random(plan.seed)
    adapted.train()
    for step in range(1, plan.steps + 1):
        loss = _step(adapted.get_base_model(), optimizer, [corpus.finetuning(rng) for _ in range(plan.batch)])
        progress(Progress(FINETUNED, step, plan.steps, loss))
    return adapted.eval()


def _blank(tokenizer: Any, recipe: Recipe) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shape = recipe.shape
    ids = tokenizer.get_vocab()
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            max_position_embeddings=shape.positions,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=ids["<|im_end|>"],
            pad_token_id=ids["<|endoftext|>"],
        )
    )


def _step(model: Any, optimizer: Any, samples: list[Sample]) -> float:
    """One step of gradient descent; padding stands on the right, where causal attention makes a mask needless."""
    import torch

    longest = max(len(sample.ids) for sample in samples)
    ids = torch.tensor([sample.ids + [0] * (longest - len(sample.ids)) for sample in samples])
    labels = torch.tensor([sample.labels + [IGNORED] * (longest - len(sample.labels)) for sample in samples])[:, 1:]
    learned = labels != IGNORED
    # Logits are the largest tensor by far, and only a fifth of the positions is learned from.
    logits = model.lm_head(model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1][learned])
    loss = torch.nn.functional.cross_entropy(logits, labels[learned])
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    return float(loss.item())


def nearest(embeddings: Any, count: int) -> list[list[int]]:
    """For each token the `count` others nearest by cosine.

    Args:
        embeddings: `[vocabulary, hidden]`, float32.
        count: From 1 to the vocabulary less one.
    """
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    similarity = unit @ unit.T
    similarity.fill_diagonal_(float("-inf"))
    neighbours: list[list[int]] = similarity.topk(count).indices.tolist()
    return neighbours


def _write_base(model: Any, tokenizer: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card(BASE), encoding="utf-8")


def _write_adapter(adapted: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    # peft writes the path of the base, and the modules in the order of a set: both differ from run to run.
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = BASE
    config["target_modules"] = sorted(config["target_modules"])
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card(FINETUNED), encoding="utf-8")
