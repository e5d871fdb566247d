"""`vllm bench serve` as a module: `python -m tests.benchmarks.vllm_bench ARGUMENTS`.

The CPU wheel's own `vllm` looks up a distribution of another name, and ends before it reads its arguments.
"""

from __future__ import annotations


def main() -> None:
    from vllm.benchmarks.serve import add_cli_args
    from vllm.benchmarks.serve import main as serve
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser(description="vllm bench serve")
    add_cli_args(parser)
    serve(parser.parse_args())


if __name__ == "__main__":
    main()
