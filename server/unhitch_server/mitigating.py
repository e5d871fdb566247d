"""One mitigated request: edited, sent to the engine, and confirmed before the client sees a byte."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import AbstractAsyncContextManager
from functools import partial

from unhitch.errors import InvalidBody, MitigationUnconfirmed
from unhitch.mitigation import Mitigated
from unhitch.strategies import best_of
from unhitch_server import sse
from unhitch_server.best_of.choice import Answered, Candidate, EngineRefused, choose, rate, together
from unhitch_server.best_of.request import question
from unhitch_server.best_of.scorer import Scorer, no_scorer
from unhitch_server.config import Config
from unhitch_server.exchange import Exchange
from unhitch_server.gate import Gate
from unhitch_server.policy.decision import Decision
from unhitch_server.receipts import Stopwatch, receipt_headers
from unhitch_server.reply import without
from unhitch_server.routes.confirmation import Confirmation
from unhitch_server.routes.request import GenerationRequest
from unhitch_server.states.confirmation import check_connector, error_words
from unhitch_server.states.customer import Customer
from unhitch_server.upstream.connection import Answer, Headers
from unhitch_server.upstream.faults import UNSERVED, NotServed
from unhitch_server.upstream.replica import Replica

HTTP_OK, HTTP_BAD_REQUEST, HTTP_INTERNAL_ERROR = 200, 400, 500

EVENT_STREAM = "text/event-stream"


class Mitigator:
    """Serves mitigated requests by one engine.

    Args:
        config: Limits.
        replica: The engine.
        gate: Lets requests through by the evidence for their strategies.
        scorer: Chooses between the answers to the draws of `best-of`; without it such requests are refused.
    """

    def __init__(self, config: Config, replica: Replica, gate: Gate, scorer: Scorer | None) -> None:
        self._config = config
        self._replica = replica
        self._engine = replica.engine
        self._gate = gate
        self._scorer = scorer

    async def serve(self, exchange: Exchange, decision: Decision, route: type[GenerationRequest]) -> None:
        """Serves a request whose mitigation is not `off`.

        Args:
            exchange: The request, its body read.
            decision: What it gets.
            route: What reads its body.

        Raises:
            NotServed: The engine answered that it does not take the request; nothing was sent.
            UnhitchError: It cannot be served so; no byte of an unmitigated answer was sent.
        """
        came = exchange.headers_for(self._replica.connection.key)
        if any(key.lower() == b"content-encoding" for key, _ in came):
            raise InvalidBody("a compressed body cannot be mitigated; send it without Content-Encoding")
        request = await asyncio.to_thread(route.parse, exchange.body, exchange.fields)
        with exchange.stopwatch:
            customer = await self._engine.customer(request.model)
            await self._engine.routes.check(route, customer.name, customer.checkpoint)
        decision = await self._gate.admit(decision, customer)
        # The answer is read here, so it must come uncompressed.
        headers = without(came, b"accept-encoding")
        if best_of.leads(decision.steps):
            await self._choose(exchange, headers, decision, request, customer)
            return
        mitigated, encoded = await self._engine.states.stocked(
            partial(request.prepare, customer.checkpoint, decision, self._config), customer, waiting=exchange.stopwatch
        )
        with exchange.stopwatch:
            await self._replica.sampler.check(customer.name, request, mitigated.before)
        confirmation = request.confirmation(mitigated)
        async with self._send(exchange, headers, encoded) as answer:
            receipt = receipt_headers(exchange.stopwatch, mitigated, customer.name, evidence=decision.evidence)
            await answer.require_served(receipt)
            _check(answer, confirmation)
            if answer.status == HTTP_OK and answer.content_type == EVENT_STREAM:
                await self._stream(exchange, answer, confirmation, receipt)
                return
            body = await self._whole(exchange, answer, confirmation)
            await exchange.reply.whole(answer.status, answer.headers + receipt, body)

    async def _choose(
        self, exchange: Exchange, headers: Headers, decision: Decision, request: GenerationRequest, customer: Customer
    ) -> None:
        """Has every draw of `best-of` answered, and returns the best answer as if it alone had been asked for."""
        request.require_choosable()
        if self._scorer is None:
            raise no_scorer()
        scorer = self._scorer
        draws = await self._engine.states.stocked(
            partial(request.prepare_draws, customer.checkpoint, decision, self._config),
            customer,
            waiting=exchange.stopwatch,
        )
        mitigated, _ = draws[0]
        asked, choice = question(mitigated.before.conversation), None

        async def candidate(mitigated: Mitigated, encoded: bytes) -> Candidate:
            answered = await self._answered(exchange, headers, request, mitigated, encoded)
            return await rate(answered, asked, scorer)

        with exchange.stopwatch:
            await self._replica.sampler.check(customer.name, request, mitigated.before)
            await scorer.ready()
            try:
                choice = choose(await together(candidate(*draw) for draw in draws))
                answered = choice.best.answered
            except EngineRefused as refused:
                answered = refused.answered
        receipt = receipt_headers(
            exchange.stopwatch, answered.mitigated, customer.name, choice, evidence=decision.evidence
        )
        if answered.status in UNSERVED:
            raise NotServed(answered.status, answered.headers + receipt, answered.body)
        await exchange.reply.whole(answered.status, answered.headers + receipt, answered.body)

    async def _answered(
        self, exchange: Exchange, headers: Headers, request: GenerationRequest, mitigated: Mitigated, encoded: bytes
    ) -> Answered:
        """The whole answer to one draw.

        Raises:
            EngineRefused: It is an error of the engine's own.
        """
        own = dataclasses.replace(exchange, stopwatch=Stopwatch())  # the request's runs for all draws at once
        confirmation = request.confirmation(mitigated)
        async with self._send(own, headers, encoded) as answer:
            _check(answer, confirmation)
            if answer.status == HTTP_OK and answer.content_type == EVENT_STREAM:
                raise MitigationUnconfirmed("the engine answered with a stream where none was asked for")
            answered = Answered(mitigated, answer.status, answer.headers, await self._whole(own, answer, confirmation))
        if answered.status != HTTP_OK or confirmation.failed:
            raise EngineRefused(answered)
        return answered

    async def _whole(self, exchange: Exchange, answer: Answer, confirmation: Confirmation) -> bytes:
        """A whole answer as the client gets it: confirmed, or the engine's own error in its own words."""
        with exchange.stopwatch:
            body = await answer.read()
        if confirmation.patches and answer.status == HTTP_INTERNAL_ERROR:
            raise await self._engine.states.failure(confirmation.patches, error_words(body), answer.request_id)
        return await asyncio.to_thread(confirmation.settle_whole, body) if answer.status == HTTP_OK else body

    async def _stream(self, exchange: Exchange, answer: Answer, confirmation: Confirmation, receipt: Headers) -> None:
        """Holds the stream back until it has confirmed the edit, in its first chunk; then nothing is held.

        Where states are served it is held until something was generated, which comes at once behind that chunk.
        """
        held = bytearray()
        async for events in sse.events(answer.chunks()):
            for event in events:
                held += sse.map_data(event, confirmation.settle)
            if confirmation.failed and confirmation.patches and not exchange.reply.started:
                raise await self._engine.states.failure(
                    confirmation.patches, confirmation.words, confirmation.request_id or answer.request_id
                )
            if (confirmation.given and confirmation.begun) or confirmation.failed:
                if not exchange.reply.started:
                    # What is told to the proxy alone goes out of the stream, so a length would no longer be true.
                    await exchange.reply.start(answer.status, without(answer.headers, b"content-length") + receipt)
                await exchange.reply.write(bytes(held))
                held.clear()
        if not exchange.reply.started:
            raise MitigationUnconfirmed("the engine's stream ended before it confirmed the edited prompt")
        confirmation.ended()
        await exchange.reply.end()

    def _send(self, exchange: Exchange, headers: Headers, body: bytes | None) -> AbstractAsyncContextManager[Answer]:
        return self._replica.connection.request(exchange.method, exchange.target, headers, body, exchange.stopwatch)


def _check(answer: Answer, confirmation: Confirmation) -> None:
    """Sees that an answer, by its status and headers, can confirm the edit."""
    if HTTP_OK < answer.status < HTTP_BAD_REQUEST:
        raise MitigationUnconfirmed(
            f"the engine answered {answer.status} where 200 is due, so the edited prompt was not confirmed. "
            "Does another proxy stand between?"
        )
    if confirmation.patches and answer.status == HTTP_OK:
        check_connector(answer.connector)
