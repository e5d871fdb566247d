"""vLLM's engine with the connector, in a process of its own, asked through a pipe.

A fork server imports vLLM once, so that every further engine starts in two or three seconds. The engine's core runs in
the process that is asked, which adds requests as they come and steps until all have ended; its server and its own
processes are what `test_server.py` and `tests/e2e/own_engine/test_up.py` start.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from unhitch.engine import cpu_wheel
from unhitch.engine.connector.options import options

PATIENCE_SECONDS = 600
BLOCK_SIZE = 32
_ADAPTER = "adapter"
_QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "ERROR"}


@dataclass(frozen=True)
class Ask:
    """A greedy request.

    Args:
        prompt: Token ids.
        member: Ours of `kv_transfer_params`, if any.
        base: Whether the base model is asked, where an adapter is served.
        steps: Tokens to generate.
        parameters: Further sampling parameters.
    """

    prompt: Sequence[int]
    member: dict[str, Any] | None = None
    base: bool = False
    steps: int = 8
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What came of it.

    Args:
        tokens: Generated token ids.
        logprobs: Of each of them.
        cached: Tokens of the prompt that were not computed.
        reason: Why it ended.
        receipt: The answer's `kv_transfer_params`.
    """

    tokens: list[int]
    logprobs: list[float]
    cached: int
    reason: str | None
    receipt: dict[str, Any] | None


class Engine:
    """A running engine; see `engine`.

    Args:
        pipe: To its process.
        folder: Where its states lie.
    """

    def __init__(self, pipe: Connection, folder: Path) -> None:
        self._pipe = pipe
        self.folder = folder

    def ask(self, *asks: Ask, reset: bool = False) -> list[Answer]:
        """Has requests served at once, as far as the engine can.

        Args:
            asks: Added in this order.
            reset: Whether the prefix cache is emptied first.
        """
        answers: list[Answer] = self._call("ask", asks, reset)
        return answers

    def metric(self, name: str) -> float:
        """The sum of a counter or gauge of vLLM's."""
        value: float = self._call("metric", name)
        return value

    def _call(self, *command: Any) -> Any:
        self._pipe.send(command)
        if not self._pipe.poll(PATIENCE_SECONDS):
            raise TimeoutError(f"the engine did not answer {command[0]} within {PATIENCE_SECONDS} s")
        outcome = self._pipe.recv()
        if isinstance(outcome, str):
            raise RuntimeError(outcome)
        return outcome

    def captured(self, header: dict[str, Any]) -> str:
        """Waits for the id of a state that the engine writes, by what its header must say."""
        from unhitch.states.file import read_header

        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            for file in self.folder.glob("*.safetensors"):
                found = read_header(file).model_dump()
                if all(found[key] == value for key, value in header.items()):
                    return file.stem
            time.sleep(0.05)
        raise TimeoutError(f"no state of {header} was captured")


@contextlib.contextmanager
def engine(
    model: Path,
    folder: Path,
    *,
    adapter: Path | None = None,
    memory_gib: float = 1.0,
    overlays: bool = True,
    environment: dict[str, str] | None = None,
    **arguments: Any,
) -> Iterator[Engine]:
    """Starts an engine and ends it.

    Args:
        model: Folder of the checkpoint.
        folder: Of states.
        adapter: Folder of a LoRA adapter on it.
        memory_gib: Of the connector.
        overlays: Of the connector.
        environment: Further variables.
        arguments: Of vLLM's `EngineArgs`.

    Raises:
        RuntimeError: It does not start; the message is its exception.
    """
    connector = json.loads(options(folder, memory_gib=memory_gib, overlays=overlays)[1])
    defaults: dict[str, Any] = {
        "model": str(model),
        "block_size": BLOCK_SIZE,
        "dtype": "float32",
        "enforce_eager": True,
        "max_model_len": 512,
        "max_num_seqs": 16,
        "skip_tokenizer_init": True,
        "disable_log_stats": False,
        "kv_transfer_config": connector,
    }
    if adapter is not None:
        defaults |= {"enable_lora": True, "max_lora_rank": 8, "max_loras": 1 + cpu_wheel.SPARE_ADAPTER_SLOTS}
    common = {**_QUIET, **cpu_wheel.ONE_THREAD, **cpu_wheel.environment({}), "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vllm.entrypoints.llm", "vllm.v1.engine.core", "vllm.v1.worker.cpu_worker"])
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, defaults | arguments, adapter, environment or {}))
    with _set(common):  # of the fork server, which imports vLLM, and of all that it forks
        process.start()
    theirs.close()
    running = Engine(ours, folder)
    try:
        running._call("start")
        yield running
    finally:
        ours.close()
        process.join(30)
        if process.is_alive():
            process.kill()
            process.join()


def _serve(pipe: Connection, arguments: dict[str, Any], adapter: Path | None, variables: dict[str, str]) -> None:
    os.environ.update(variables)
    pipe.recv()
    try:
        from vllm import LLM
        from vllm.v1.executor import multiproc_executor

        # Workers that share the heads would each import vLLM anew; on a CPU it has them spawned, whatever it is told.
        multiproc_executor.get_mp_context = partial(multiprocessing.get_context, "fork")
        llm = LLM(**arguments)
        pipe.send([])
        while True:
            name, *rest = pipe.recv()
            pipe.send(_metric(llm, *rest) if name == "metric" else _ask(llm, adapter, *rest))
    except EOFError:
        return  # it is no longer needed
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise


def _ask(llm: Any, adapter: Path | None, asks: Sequence[Ask], reset: bool) -> list[Answer]:
    from vllm.lora.request import LoRARequest

    if reset and not llm.reset_prefix_cache():
        raise RuntimeError("the prefix cache could not be emptied")
    lora = None if adapter is None else LoRARequest(_ADAPTER, 1, str(adapter))
    for number, ask in enumerate(asks):
        prompt = {"prompt_token_ids": list(ask.prompt)}
        llm.llm_engine.add_request(str(number), prompt, _sampling(ask), lora_request=None if ask.base else lora)
    outputs: dict[str, Any] = {}
    while llm.llm_engine.has_unfinished_requests():
        outputs |= {output.request_id: output for output in llm.llm_engine.step() if output.finished}
    return [_answer(outputs[str(number)]) for number in range(len(asks))]


def _sampling(ask: Ask) -> Any:
    from vllm import SamplingParams

    extra = None if ask.member is None else {"kv_transfer_params": {"unhitch": ask.member}}
    return SamplingParams(
        max_tokens=ask.steps,
        temperature=0,
        logprobs=1,
        ignore_eos=True,
        detokenize=False,
        extra_args=extra,
        **ask.parameters,
    )


def _answer(output: Any) -> Answer:
    [choice] = output.outputs
    tokens = list(choice.token_ids)
    logprobs = [entries[token].logprob for token, entries in zip(tokens, choice.logprobs or (), strict=False)]
    return Answer(tokens, logprobs, output.num_cached_tokens or 0, choice.finish_reason, output.kv_transfer_params)


def _metric(llm: Any, name: str) -> float:
    return float(sum(metric.value for metric in llm.get_metrics() if metric.name == name))


@contextlib.contextmanager
def _set(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
