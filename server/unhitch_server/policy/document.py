"""The operator's policies as they are written: the fields of the policy file, with their ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from unhitch_server.policy.describe import faults_of
from unhitch_server.policy.errors import Fault, InvalidPolicy
from unhitch_server.policy.places import Places
from unhitch_server.policy.url import EngineUrl

Freedom = Literal["choose", "parameters", "seed", "off"]
"""What clients may change of a policy by headers.

choose: ask for other strategies, whatever they edit, `off` excepted; includes the two that follow. parameters: give the
policy's own strategies, in its order, other parameters. seed: give them another seed, where the policy names none, and
send Unhitch-Session. off: have the request go through as it came.
"""
Require = Literal["no", "mark", "refuse"]
"""Whether mitigated answers say what evidence there is (mark), and are refused without (refuse)."""

FREEDOMS: tuple[Freedom, ...] = get_args(Freedom)
LONGEST_NAME = 200
"""Characters of a name."""
MAIN = "main"
"""The name of the only upstream, where settings made it."""
DEFAULT = "default"
"""The name of the policy that --mitigation makes."""


def _name(value: str) -> str:
    if not 0 < len(value) <= LONGEST_NAME or not value.isprintable() or value != value.strip() or "*" in value:
        raise ValueError(
            f"{value[:LONGEST_NAME]!r} is no name: 1 to {LONGEST_NAME} printable characters without `*`, no space "
            "at an end"
        )
    return value


def _pattern(value: str) -> str:
    try:
        _name(value.removesuffix("*") or "any")
    except ValueError:
        raise ValueError(
            f"{value[:LONGEST_NAME]!r} can match nothing: give a whole name, or its beginning and `*`"
        ) from None
    return value


Name = Annotated[str, AfterValidator(_name)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Percent = Annotated[float, Field(ge=0, le=100)]


class Part(BaseModel):
    """Base of all parts of the document."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Circuit(Part):
    """When an engine that fails is left alone."""

    failures: int = Field(default=5, ge=1, description="So many failures in a row open the circuit.")
    open_seconds: float = Field(default=10.0, gt=0, description="How long it stays open; then one request tries.")


class Engines(Part):
    """Engines that serve the same models."""

    urls: tuple[EngineUrl, ...] = Field(min_length=1, description="Base URLs, without /v1.")
    balance: Literal["least-loaded", "session"] = Field(
        default="least-loaded",
        description="Each request goes to the engine with the fewest under way, or all of a session to the same one.",
    )
    api_key_env: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="The variable of the environment that holds the engines' key.",
    )
    connect_seconds: float = Field(default=30.0, gt=0, description="Longest wait for a connection.")
    first_token_seconds: float = Field(default=600.0, gt=0, description="Longest wait for the first byte of an answer.")
    silence_seconds: float = Field(default=120.0, gt=0, description="Longest silence within an answer.")
    retries: int = Field(
        default=1, ge=0, le=10, description="So many more tries, as long as the client has had no byte."
    )
    circuit: Circuit = Field(default=Circuit(), description="When an engine that fails is left alone.")
    health_seconds: float = Field(default=5.0, gt=0, description="Time between looks at the engines' health.")

    def api_key(self, environ: Mapping[str, str]) -> str | None:
        """The engines' key; None where they need none.

        Raises:
            InvalidPolicy: The environment has no such variable.
        """
        if self.api_key_env is None:
            return None
        if not (key := environ.get(self.api_key_env)):
            raise InvalidPolicy([Fault(f"api_key_env: {self.api_key_env}", "the environment has no such variable")])
        return key


class Alias(Part):
    """A name that clients may give as the model, beside those of the engine."""

    model: Name = Field(description="The engine's own name of the model.")
    policy: Name | None = Field(
        default=None,
        description="What requests get that name the alias and match no rule. A rule that matches holds in its place, "
        "unless it does nothing and this policy does something.",
    )
    upstream: Name | None = Field(default=None, description="Where the model is served; else by `default_upstream`.")


class Rollout(Part):
    """A policy for a share of the sessions only.

    A session (where the policy lets clients name one), else the client's key, else the conversation's opening decides;
    so a session keeps its share, and a larger share includes a smaller one. Clients can come into either share by
    naming other sessions: `otherwise` must be a policy that every client may have.
    """

    percent: Percent = Field(description="Share of the sessions that have the policy.")
    otherwise: Name = Field(description="The policy of all others; it has no rollout of its own.")


class Shadow(Part):
    """A share of the requests is asked a second time, off the path, to be judged later."""

    percent: Percent = Field(description="Share of the requests, drawn one by one.")
    mitigation: str = Field(description="What the second one gets: the value of an Unhitch-Mitigation header.")


class Policy(Part):
    """What requests get, who may change that, and what happens when it cannot be done."""

    mitigation: str = Field(description="Strategies in order: the value of an Unhitch-Mitigation header.")
    require_validated: Require = Field(
        default="no",
        description="Whether mitigated answers say what evidence there is (mark), and are refused without (refuse).",
    )
    on_failure: Literal["closed", "open"] = Field(
        default="closed",
        description="What happens where the mitigation cannot be made: the request is refused, or goes through "
        "unmitigated. What a client itself asked for is never passed over.",
    )
    clients_may: tuple[Freedom, ...] = Field(default=("seed",), description="What clients may change by headers.")
    clients_may_name: tuple[Name, ...] = Field(
        default=(), description="Policies that Unhitch-Policy may name in place of this one."
    )
    unrecognised_prompts: Literal["refuse", "pass"] = Field(
        default="refuse", description="What happens to raw prompts in which no chat template is recognised."
    )
    rollout: Rollout | None = Field(default=None, description="Restricts the policy to a share of the sessions.")
    shadow: Shadow | None = Field(default=None, description="Asks a share of the requests a second time.")


class Canary(Part):
    """Questions that the proxy asks from time to time, as a client without a key and without headers of ours would."""

    model: Name = Field(description="The model that is asked for: the engine's name, or an alias.")
    suite: str = Field(description="The questions: `builtin`, `organism:FAMILY`, or a file of them.")
    judge: str = Field(description="What rates the answers: `rated`, `exact`, or an installed judge.")
    judge_url: EngineUrl | None = Field(default=None, description="The endpoint that the judge asks, with /v1.")
    judge_model: str | None = Field(default=None, description="The model that the judge asks there.")
    judge_api_key_env: str | None = Field(
        default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="The variable that holds the judge's key."
    )
    every_seconds: float = Field(default=3600.0, ge=1, description="From the end of one run to the next.")
    questions: int = Field(default=20, ge=1, le=1000, description="Of one run; the next one goes on in the suite.")
    alarm_above: float = Field(
        default=0.05, ge=0, le=1, description="Alarms where the 95% interval of the misaligned share lies above it."
    )


class Rule(Part):
    """Which requests a policy is for; what is left out matches all. A trailing `*` matches any ending."""

    keys: tuple[Pattern, ...] | None = Field(
        default=None, min_length=1, description="Names of clients' keys; a request without a key matches none."
    )
    models: tuple[Pattern, ...] | None = Field(
        default=None, min_length=1, description="Names of models: the engine's, or an alias."
    )
    routes: tuple[Pattern, ...] | None = Field(
        default=None, min_length=1, description="Paths, such as /v1/completions."
    )
    policy: Name = Field(description="What such requests get.")


class Document(Part):
    """The whole file. The first rule that matches decides, else the model's alias, else the default."""

    upstreams: Mapping[Name, Engines] = Field(
        default_factory=dict, description="Where the engines are, by names of the operator's; else --upstream says it."
    )
    default_upstream: Name | None = Field(
        default=None, description="Where requests go whose model is no alias with an upstream of its own."
    )
    models: Mapping[Name, Alias] = Field(default_factory=dict, description="Aliases of models.")
    policies: Mapping[Name, Policy] = Field(min_length=1, description="Policies, by names of the operator's.")
    default: Name = Field(description="The policy of requests that no rule and no alias has another for.")
    canaries: Mapping[Name, Canary] = Field(
        default_factory=dict,
        description="What the proxy asks of its own accord, to see drift, by name.",
    )
    rules: tuple[Rule, ...] = Field(default=(), description="Which policy holds for whom; the first match decides.")

    @property
    def main_upstream(self) -> str:
        """Where requests go whose model says nothing else."""
        return self.default_upstream or next(iter(self.upstreams), MAIN)

    @classmethod
    def of_settings(
        cls, *, upstream: str, mitigation: str, policies: Mapping[str, str], require_validated: Require
    ) -> Self:
        """The document that the command line's options stand for: clients may change all.

        Args:
            upstream: Base URL of the engine, without /v1.
            mitigation: What requests without a header get.
            policies: Named ones, as the value of an Unhitch-Mitigation header.
            require_validated: Of all policies.

        Raises:
            InvalidPolicy: A name or the URL is not valid.
        """
        if DEFAULT in policies:
            raise InvalidPolicy([Fault("--policy", f"the name {DEFAULT!r} is that of --mitigation; choose another")])
        shared = {"require_validated": require_validated, "clients_may": FREEDOMS, "clients_may_name": tuple(policies)}
        data = {
            "upstreams": {MAIN: {"urls": (upstream,)}},
            "policies": {
                name: {"mitigation": value, **shared} for name, value in {DEFAULT: mitigation, **policies}.items()
            },
            "default": DEFAULT,
        }
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise InvalidPolicy(faults_of(error, cls, Places())) from error
