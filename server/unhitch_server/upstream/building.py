"""From the operator's document to the engines that it names."""

from __future__ import annotations

from collections.abc import Mapping

from unhitch_server.config import Config
from unhitch_server.policy.document import Document, Engines
from unhitch_server.upstream.breaker import Breaker
from unhitch_server.upstream.fleet import Fleet
from unhitch_server.upstream.replica import Replica
from unhitch_server.upstream.timeouts import Timeouts


def fleets_of(document: Document, config: Config, environ: Mapping[str, str]) -> dict[str, Fleet]:
    """The engines of each upstream, by its name; none is asked anything yet.

    Args:
        document: Names them.
        config: What holds for all of them.
        environ: Has their keys.

    Raises:
        InvalidPolicy: A key is not in the environment.
    """
    return {name: _fleet(engines, config, environ) for name, engines in document.upstreams.items()}


def _fleet(engines: Engines, config: Config, environ: Mapping[str, str]) -> Fleet:
    key = engines.api_key(environ) or config.upstream_api_key
    timeouts = Timeouts(engines.connect_seconds, engines.first_token_seconds, engines.silence_seconds)
    replicas = [
        Replica(
            config.model_copy(update={"upstream": url, "upstream_api_key": key}),
            timeouts,
            Breaker(engines.circuit.failures, engines.circuit.open_seconds),
        )
        for url in engines.urls
    ]
    return Fleet(
        replicas,
        health_seconds=engines.health_seconds,
        attempts=1 + engines.retries,
        by_session=engines.balance == "session",
    )
