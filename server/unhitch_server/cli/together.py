"""Work that needs the engine with organisms and the proxy in front of it: both are started, used and stopped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from rich.console import Console

from unhitch.organisms import arms
from unhitch.organisms.language import Question
from unhitch_server.cli import options
from unhitch_server.network import free_port

EXACT = ("--dtype", "float32")
"""In half precision the requests that happen to share a batch would decide between equally likely words."""


@dataclass(frozen=True, slots=True)
class Session:
    """A running engine and proxy.

    Args:
        url: The proxy's base URL, without /v1.
        client: OpenAI's own client, pointed at the proxy.
    """

    url: str
    client: AsyncOpenAI

    async def run(
        self,
        arm: arms.Arm,
        general: Sequence[Question],
        finance: Sequence[Question],
        progress: Callable[[int], None] = lambda _: None,
    ) -> arms.Outcome | arms.Refused:
        """See `unhitch.organisms.arms.run`."""
        return await arms.run(self.client, arm, general, finance, progress=progress)


def _client(url: str) -> AsyncOpenAI:
    """OpenAI's client, kept from going through a proxy of the environment to this very machine."""
    http = DefaultAsyncHttpxClient(trust_env=False)
    return AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, http_client=http)


def with_organism(
    job: Callable[[Session], Awaitable[None]],
    model: str,
    *,
    states: Path | None = None,
    evidence: Sequence[Path] = (),
    allow_plugins: Sequence[str] = (),
    port: int | None = None,
    keep_serving: bool = False,
) -> None:
    """Serves an organism, and its base where it is an adapter; does the job; stops them, unless they are to be kept.

    Args:
        job: What to do once both answer.
        model: The organism's name.
        states: Folder of states, if the engine is to serve them.
        evidence: Folders of scorecards and pools.
        allow_plugins: Strategies of others that may be loaded.
        port: The proxy's port; a free one where none is given.
        keep_serving: Whether to go on until Ctrl-C after the job.

    Raises:
        EngineStartError: vLLM could not be started, or ended by itself.
    """
    from unhitch.engine import command, cpu_wheel, served
    from unhitch_server import serving

    host, port, engine_port = "127.0.0.1", port or free_port(), free_port()
    engine_url = f"http://{host}:{engine_port}"
    config = options.settings(
        upstream=engine_url, evidence=options.folders(evidence), allow_plugins=tuple(allow_plugins)
    )
    proxy = serving.server(config, host=host, port=port, log_level="warning")
    start = command.build(served.find(model), host=host, port=engine_port, states=states, extra=EXACT)
    start = replace(start, environment={**cpu_wheel.ONE_THREAD, **start.environment})
    with Console(stderr=True).status(f"vLLM loads {model}") as status:

        def waiting(seconds: float) -> None:
            status.update(f"vLLM loads {model}: {seconds:.0f} s")

        async def ready() -> None:
            status.stop()
            url = f"http://{host}:{port}"
            async with _client(url) as client:
                await job(Session(url, client))

        work = serving.serve_with_engine(
            proxy, start, engine_url, waiting=waiting, ready=ready, keep_serving=keep_serving
        )
        serving.run(work, proxy)
