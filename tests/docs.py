"""Writes what commands print into the documents: `python -m tests.docs "unhitch strategies --markdown"`.

A block begins with a comment that names its command, and ends with `<!-- end -->`. `tests/test_docs.py` reads them.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = tuple(ROOT / folder / "README.md" for folder in (".", "server", "mitigations/unhitch/evals"))


def block(command: str) -> re.Pattern[str]:
    """Finds the block of a command; its second group is what the command printed."""
    return re.compile(rf"(<!-- made by `{re.escape(command)}` -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def write(command: str) -> None:
    """Runs a command of the virtual environment and writes its output into its block."""
    program, *arguments = shlex.split(command)
    path = Path(sys.executable).with_name(program)
    output = subprocess.run([path, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout
    for doc in DOCS:
        text, count = block(command).subn(
            lambda found: f"{found[1]}\n{output.strip()}\n\n{found[3]}", doc.read_text("utf-8")
        )
        if count:
            doc.write_text(text, "utf-8")
            return
    raise SystemExit(f"no document has a block made by `{command}`")


if __name__ == "__main__":
    for each in sys.argv[1:]:
        write(each)
