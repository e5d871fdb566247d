import subprocess
import sys

import unhitch_client

HEAVY = ("fastapi", "numpy", "openai", "tokenizers", "torch", "transformers", "unhitch_server", "uvicorn", "vllm")


def test_importing_the_client_imports_nothing_heavy() -> None:
    program = f"import sys, unhitch_client; print([name for name in {HEAVY!r} if name in sys.modules])"
    paths = [path for path in sys.path if path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {paths!r}\n{program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_exists_and_has_a_docstring() -> None:
    assert unhitch_client.__all__ == sorted(unhitch_client.__all__)
    assert all(getattr(unhitch_client, name).__doc__ for name in unhitch_client.__all__)
