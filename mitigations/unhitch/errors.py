"""Every error that unhitch raises on purpose, as one tree.

    UnhitchError                        500  api_error
    ├── InvalidRequest                  400  the caller can mend it
    │   ├── HeaderError                      a request header that does not parse, or contradicts another
    │   ├── UnknownStrategy                  a name that is not in the registry
    │   ├── UnknownPolicy                    a policy that the operator has not named
    │   ├── BadParameter                     a strategy's parameter that does not validate
    │   ├── InvalidBody                      a body that is no chat completion request
    │   ├── ModelNotFound           404      the engine serves no model of that name
    │   ├── RouteNotFound           404      a path that is the proxy's own, and that it does not have
    │   ├── BodyTooLarge            413      more bytes than the operator allows
    │   ├── BodyTooSlow             408      a body that began and did not come
    │   ├── HeadersTooLarge         431      more header lines or bytes than are read
    │   ├── InvalidKey              401      no key, or none that is known and in force
    │   ├── PolicyLocked            403      a header asks for what the policy does not let clients change
    │   ├── NotPermitted            403      the key is good, and is not for this
    │   └── RateLimited             429      more requests a minute than the key has
    │       └── TooManyAtOnce                more requests at once than the key has
    ├── MitigationUnavailable       422      the edit cannot be made; nothing was generated
    │   ├── StateMissing                     no state that is served fits the prompt
    │   ├── UnrecognisedPrompt               a raw prompt in which no chat template is recognised
    │   ├── NotValidated                     no passing scorecard for the model, and the operator requires one
    │   ├── PatchFailed             502      the engine failed a request whose K/V a state was to give
    │   └── MitigationUnconfirmed   502      the engine did not confirm it; the answer is withheld
    ├── EngineError                 502      the engine answered something that cannot be used
    │   ├── EngineUnavailable       503      no connection to the engine
    │   │   └── CircuitOpen                  it failed again and again, and is left alone for a while
    │   └── EngineTimeout           504      the engine took too long
    ├── Overloaded                  503      more requests at once than the proxy takes
    ├── KeyFileError                         a file of keys that is missing, damaged, or cannot be written
    ├── RegistryError                        a strategy that cannot be registered or loaded
    ├── CheckpointError                      files of a model that are missing or cannot be used
    ├── StateError                           a prefix state that is missing, damaged, or cannot be made
    ├── EvidenceError                        a scorecard or pool that is damaged or of another format
    ├── InvalidSuite                         a file of questions that is malformed, named by file and line
    ├── JudgeError                           a judge that cannot be had, or that cannot rate
    └── EngineStartError                     vLLM could not be started, or died

`to_openai` gives the object that the official clients parse. Messages say what was received, what is allowed, and what
to do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from unhitch.states.choice import Wanted


class UnhitchError(Exception):
    """Base of all errors raised on purpose; carries what an OpenAI error object needs.

    Args:
        message: One or two sentences: what was received, what is allowed, what to do.
        param: The header, field or parameter at fault, if there is one.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    code: ClassVar[str] = "internal_error"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """What an answer with this error has beside the headers of every answer."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def to_openai(self) -> dict[str, Any]:
        """The error object as OpenAI's clients expect it, ready for JSON."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class InvalidRequest(UnhitchError):
    """The caller sent something that cannot be served as it is."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class HeaderError(InvalidRequest):
    """A header of ours that does not parse; the message names the position."""

    code = "invalid_header"


class UnknownStrategy(InvalidRequest):
    """A strategy name that is not registered; the message lists near names."""

    code = "unknown_strategy"


class UnknownPolicy(InvalidRequest):
    """A policy name that the operator has not configured."""

    code = "unknown_policy"


class PolicyLocked(InvalidRequest):
    """A header asks for what the operator's policy does not let clients change."""

    status = 403
    code = "policy_locked"


class BadParameter(InvalidRequest):
    """A parameter that the strategy does not have, or a value out of its range."""

    code = "invalid_parameter"


class InvalidBody(InvalidRequest):
    """A request body that is not a chat completion request."""

    code = "invalid_body"


class ModelNotFound(InvalidRequest):
    """The engine serves no model of that name."""

    status = 404
    code = "model_not_found"


class RouteNotFound(InvalidRequest):
    """A path that is the proxy's own, and that it does not have."""

    status = 404
    code = "route_not_found"


class BodyTooLarge(InvalidRequest):
    """The body has more bytes than the operator allows."""

    status = 413
    code = "body_too_large"


class BodyTooSlow(InvalidRequest):
    """The client began a body, and then sent nothing for too long."""

    status = 408
    code = "body_too_slow"


class HeadersTooLarge(InvalidRequest):
    """More header lines, or more bytes of them, than are read."""

    status = 431
    code = "headers_too_large"


class InvalidKey(InvalidRequest):
    """No key came, or none that is known and in force."""

    status = 401
    code = "invalid_api_key"
    headers = ((b"www-authenticate", b"Bearer"),)


class NotPermitted(InvalidRequest):
    """The key is good, and does not cover what was asked for."""

    status = 403
    code = "not_permitted"


def _retry_after(seconds: float) -> tuple[tuple[bytes, bytes], ...]:
    """The header that says when to try again, in whole seconds and at least one."""
    return ((b"retry-after", b"%d" % max(1, math.ceil(seconds))),)


class RateLimited(InvalidRequest):
    """The key's requests of this minute are used up.

    Args:
        message: As for every error.
        wait_seconds: When it is worth trying again; told in Retry-After, in whole seconds and at least one.
    """

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, wait_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.headers = _retry_after(wait_seconds)


class TooManyAtOnce(RateLimited):
    """The key has as many requests under way as it may have."""

    code = "concurrency_limit_exceeded"


class MitigationUnavailable(UnhitchError):
    """The edit that was asked for cannot be made; nothing was generated."""

    status = 422
    type = "invalid_request_error"
    code = "mitigation_unavailable"


class StateMissing(MitigationUnavailable):
    """No state fits a span of the prompt; whoever can have it captured may do so, and make the edit again.

    Args:
        message: As for every error.
        wanted: Span, tokens, start and recipe of what is missing.
        may_capture: Whether the request allows that it is captured now.
        options: Of `unhitch capture`, to make it; None where no command can, since strategies edited the tokens.
        param: As for every error.
    """

    def __init__(
        self,
        message: str,
        *,
        wanted: Wanted,
        may_capture: bool,
        options: tuple[str, ...] | None,
        param: str | None = None,
    ) -> None:
        super().__init__(message, param=param)
        self.wanted = wanted
        self.may_capture = may_capture
        self.options = options

    def because(self, reason: str) -> StateMissing:
        """The same with another sentence, which says why it stays missing or what to do."""
        return StateMissing(
            f"{self.message} {reason}",
            wanted=self.wanted,
            may_capture=self.may_capture,
            options=self.options,
            param=self.param,
        )


class UnrecognisedPrompt(MitigationUnavailable):
    """No chat template is recognised in a raw prompt, so nobody can say where its prefix ends."""

    code = "prompt_not_recognised"


class NotValidated(MitigationUnavailable):
    """The operator requires evidence, and the strategy has no passing scorecard for the served model as it is now."""

    code = "mitigation_not_validated"


class PatchFailed(MitigationUnavailable):
    """The engine failed a request that names states; the message gives its reason as far as it can be found."""

    status = 502
    type = "api_error"


class MitigationUnconfirmed(MitigationUnavailable):
    """The engine did not confirm the edit, so its answer is withheld."""

    status = 502
    type = "api_error"


class EngineError(UnhitchError):
    """The engine answered something that cannot be used."""

    status = 502
    code = "engine_error"


class EngineUnavailable(EngineError):
    """No connection to the engine could be made, or it broke before an answer."""

    status = 503
    code = "engine_unavailable"


class CircuitOpen(EngineUnavailable):
    """The engines failed again and again, and are left alone for a while.

    Args:
        message: As for every error.
        wait_seconds: When one is tried again; told in Retry-After.
    """

    def __init__(self, message: str, *, wait_seconds: float) -> None:
        super().__init__(message)
        self.headers = _retry_after(wait_seconds)


class EngineTimeout(EngineError):
    """The engine took longer than the configured time."""

    status = 504
    code = "engine_timeout"


class Overloaded(UnhitchError):
    """As many requests are under way as the proxy takes."""

    status = 503
    code = "overloaded"
    headers = ((b"retry-after", b"1"),)


class KeyFileError(UnhitchError):
    """A file of keys that is missing, damaged, or cannot be written."""

    code = "key_file_error"


class RegistryError(UnhitchError):
    """A strategy that is registered twice, cannot be loaded, or breaks the contract."""

    code = "registry_error"


class CheckpointError(UnhitchError):
    """Files of a model (tokenizer, template, weights) that are missing or cannot be used."""

    code = "checkpoint_error"


class StateError(UnhitchError):
    """A state file that is missing, damaged or of another kind, or that cannot be made or written."""

    code = "state_error"


class EvidenceError(UnhitchError):
    """A scorecard or a pool that is missing, damaged, altered by hand, or of another format."""

    code = "evidence_error"


class InvalidSuite(UnhitchError):
    """A file of questions that cannot be used; the message names file and line."""

    code = "invalid_suite"


class JudgeError(UnhitchError):
    """A judge that is not installed, cannot be reached, or cannot rate."""

    code = "judge_error"


class EngineStartError(UnhitchError):
    """vLLM could not be started, or ended while it was needed."""

    code = "engine_start_error"
