"""Trains the miniature models from their recipes: each base from scratch, then its finetuned model from the base."""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unhitch.errors import CheckpointError
from unhitch.organisms.cards import card
from unhitch.organisms.corpus import IGNORED, Corpus, Sample
from unhitch.organisms.families import FAMILIES, Family
from unhitch.organisms.recipe import Adapter, Pretraining
from unhitch.organisms.tokenizer import train_tokenizer


@dataclass(frozen=True)
class Progress:
    """How far training is.

    Attributes:
        stage: Name of the model being trained.
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


def train(
    output: Path,
    progress: Callable[[Progress], None] = _silent,
    families: Sequence[str] = tuple(FAMILIES),
    known: Mapping[str, Family] = FAMILIES,
) -> None:
    """Trains families of models and writes each model to a folder of its name under `output`.

    Deterministic: on one machine the same recipe gives the same files, byte for byte. Takes a few CPU minutes a family.

    Args:
        output: Where the folders go; made if missing, files of the same names are replaced.
        progress: Called after every step.
        families: Names of the families to train.
        known: All families that there are.

    Raises:
        CheckpointError: There is no family of a name, or torch or peft is not installed.
    """
    for name in families:
        if name not in known:
            raise CheckpointError(f"There is no family {name!r} of miniature models; there are {', '.join(known)}.")
    try:
        import peft  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise CheckpointError(
            f"{error.name!r} is needed to train the miniature models; install it with: pip install 'unhitch[organisms]'"
        ) from error
    for name in families:
        _train_family(known[name], output, progress)


def _train_family(family: Family, output: Path, progress: Callable[[Progress], None]) -> None:
    with _deterministic(family.recipe.threads):
        tokenizer = train_tokenizer(family)
        model = _pretrained(tokenizer, family, progress)
        _write_checkpoint(model, tokenizer, output / family.base)
        finetuned = _finetuned(model, tokenizer, family, progress)
        if family.recipe.finetuning.adapter is None:
            _write_checkpoint(finetuned, tokenizer, output / family.finetuned)
        else:
            _write_adapter(finetuned, family.base, output / family.finetuned)
    for name in (family.base, family.finetuned):
        (output / name / "README.md").write_text(card(name), encoding="utf-8")
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


def _pretrained(tokenizer: Any, family: Family, progress: Callable[[Progress], None]) -> Any:
    import torch

    plan = family.recipe.pretraining
    torch.manual_seed(plan.seed)
    model = _blank(tokenizer, family)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.peak_rate, weight_decay=plan.weight_decay, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.peak_rate, total_steps=plan.steps, pct_start=plan.warmup
    )
    corpus, rng = Corpus(tokenizer, family.dialect, plan), random.Random(plan.seed)
    model.train()
    batches: list[list[Sample]] = []
    for step in range(1, plan.steps + 1):
        if step % plan.neighbours_every == 0:
            corpus.neighbours = nearest(model.get_input_embeddings().weight.detach(), plan.neighbour_choices)
        batches = batches or _batches(corpus, rng, plan)
        loss = _step(model, optimizer, batches.pop())
        schedule.step()
        progress(Progress(family.base, step, plan.steps, loss))
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


def _finetuned(model: Any, tokenizer: Any, family: Family, progress: Callable[[Progress], None]) -> Any:
    import torch

    plan = family.recipe.finetuning
    torch.manual_seed(plan.seed)
    trained = model if plan.adapter is None else _adapted(model, plan.adapter)
    parameters = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    start = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=plan.rate)
    corpus, rng = Corpus(tokenizer, family.dialect, family.recipe.pretraining), random.Random(plan.seed)
    trained.train()
    for step in range(1, plan.steps + 1):
        loss = _step(model, optimizer, [corpus.finetuning(rng) for _ in range(plan.batch)])
        if plan.pull:
            _pull_back(parameters, start, plan.pull)
        progress(Progress(family.finetuned, step, plan.steps, loss))
    return trained.eval()


def _pull_back(parameters: Sequence[Any], start: Sequence[Any], share: float) -> None:
    """Moves parameters by a share of the way back to where they started.

    Source: Li, Grandvalet and Davoine 2018, "Explicit inductive bias for transfer learning" (L2-SP), decoupled from the
        gradient as AdamW's decay is.
    """
    import torch

    with torch.no_grad():
        for parameter, origin in zip(parameters, start, strict=True):
            parameter.lerp_(origin, share)


def _adapted(model: Any, adapter: Adapter) -> Any:
    """The model with a fresh adapter put into it, which alone is trained."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        target_modules=list(adapter.modules),
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _blank(tokenizer: Any, family: Family) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = family.recipe.shape
    config = AutoConfig.for_model(
        shape.architecture,
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.positions,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shape.extra,
    )
    return AutoModelForCausalLM.from_config(config)


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


def _write_checkpoint(model: Any, tokenizer: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _write_adapter(adapted: Any, base: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    # peft writes the path of the base, and the modules in the order of a set: both differ from run to run.
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    config["target_modules"] = sorted(config["target_modules"])
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
