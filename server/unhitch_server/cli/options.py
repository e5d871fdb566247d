"""Options that several commands share, and the settings they make."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

from unhitch.errors import CheckpointError, InvalidRequest
from unhitch_server.config import Config

Host = Annotated[str, typer.Option(envvar="UNHITCH_HOST", help="Address to listen on.")]
Port = Annotated[int, typer.Option(envvar="UNHITCH_PORT", min=0, max=65535, help="Port to listen on.")]
Mitigation = Annotated[
    str,
    typer.Option(
        envvar="UNHITCH_MITIGATION",
        help="What requests without a header get, as an Unhitch-Mitigation header has it: 'perturb;seed=7'.",
    ),
]
Policies = Annotated[
    list[str] | None,
    typer.Option("--policy", metavar="NAME=MITIGATION", help="A policy that requests may name. Can be repeated."),
]
TemplateKwargs = Annotated[
    str,
    typer.Option(
        "--default-chat-template-kwargs",
        envvar="UNHITCH_DEFAULT_CHAT_TEMPLATE_KWARGS",
        metavar="JSON",
        help="vLLM's option of that name, if it has one: variables that every rendering gets.",
    ),
]
ExcludeTools = Annotated[
    bool,
    typer.Option(
        "--exclude-tools-when-tool-choice-none",
        envvar="UNHITCH_EXCLUDE_TOOLS_WHEN_TOOL_CHOICE_NONE",
        help="Set it where vLLM has its option of that name.",
    ),
]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-plugin",
        envvar="UNHITCH_ALLOW_PLUGIN",
        metavar="NAME",
        help="An installed strategy of a third party that may be loaded. Can be repeated.",
    ),
]
States = Annotated[
    Path | None,
    typer.Option(
        envvar="UNHITCH_STATES",
        metavar="DIR",
        help="Folder of prefix states: loads unhitch's connector into vLLM, for prefix-state and postfix-state.",
    ),
]
Scorer = Annotated[
    str | None,
    typer.Option(
        envvar="UNHITCH_SCORER",
        metavar="NAME",
        help="The judge that chooses between answers for best-of: exact, rated, or an installed one of a third party. "
        "The key for its endpoint stands in UNHITCH_SCORER_API_KEY.",
    ),
]
ScorerUrl = Annotated[
    str | None, typer.Option(envvar="UNHITCH_SCORER_URL", help="The OpenAI-compatible endpoint that the scorer asks.")
]
ScorerModel = Annotated[
    str | None, typer.Option(envvar="UNHITCH_SCORER_MODEL", help="The model that the scorer asks there.")
]
Evidence = Annotated[
    list[Path] | None,
    typer.Option(
        envvar="UNHITCH_EVIDENCE",
        metavar="DIR",
        help="Folder of scorecards and pools, as `unhitch validate` and `unhitch tune` write them. Can be repeated.",
    ),
]
BundledEvidence = Annotated[
    bool,
    typer.Option(
        "--bundled-evidence/--no-bundled-evidence",
        envvar="UNHITCH_BUNDLED_EVIDENCE",
        help="Whether the evidence that ships with unhitch, on its miniature models, counts.",
    ),
]
RequireValidated = Annotated[
    Literal["no", "mark", "refuse"],
    typer.Option(
        envvar="UNHITCH_REQUIRE_VALIDATED",
        help="mark: mitigated answers say in Unhitch-Evidence whether a scorecard that holds for the model passes. "
        "refuse: requests without one are refused.",
    ),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        envvar="UNHITCH_POLICY_FILE",
        metavar="FILE",
        help="The operator's policies (`unhitch policy check FILE`); read again when it changes, and on SIGHUP.",
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        envvar="UNHITCH_KEYS",
        metavar="FILE",
        help="The clients' keys (`unhitch keys add`). The operator's own key, for control routes, stands in "
        "UNHITCH_CONTROL_KEY.",
    ),
]
SeparateCaches = Annotated[
    bool,
    typer.Option(
        "--separate-caches/--shared-cache",
        envvar="UNHITCH_SEPARATE_CACHES",
        help="With --keys: whether each key has vLLM's prefix cache for itself (a cache_salt in each request), so that "
        "no client can tell by the time to the first token what another's prompt begins with.",
    ),
]
MostAtOnce = Annotated[
    int | None,
    typer.Option(envvar="UNHITCH_MOST_AT_ONCE", min=1, help="Requests under way over all clients; others get a 503."),
]
ShadowFile = Annotated[
    Path | None,
    typer.Option(
        envvar="UNHITCH_SHADOW_FILE",
        metavar="FILE",
        help="Where prompts and answers of the policies' shadow arms are written, as JSON lines.",
    ),
]
DrainSeconds = Annotated[
    float,
    typer.Option(
        envvar="UNHITCH_DRAIN_SECONDS", min=0, help="How long requests may take to end once the proxy is to stop."
    ),
]
WriteSeconds = Annotated[
    float,
    typer.Option(
        envvar="UNHITCH_WRITE_SECONDS", min=1, help="A client that reads nothing of its answer for so long is dropped."
    ),
]
MaxBodyBytes = Annotated[
    int, typer.Option(envvar="UNHITCH_MAX_BODY_BYTES", min=1, help="Largest request body in bytes.")
]
MAX_BODY_BYTES = Config.model_fields["max_body_bytes"].default
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], typer.Option(envvar="UNHITCH_LOG_LEVEL")]


def operation(
    policy_file: Path | None,
    keys: Path | None,
    most_at_once: int | None,
    shadow_file: Path | None,
    *,
    separate_caches: bool,
) -> dict[str, Any]:
    """The settings of policies, keys and limits; the control key comes from the environment alone."""
    return {
        "policy_file": policy_file,
        "key_file": keys,
        "most_at_once": most_at_once,
        "separate_caches": separate_caches,
        "shadow_file": shadow_file,
        "control_key": os.environ.get("UNHITCH_CONTROL_KEY") or None,
    }


def pairs(values: Sequence[str] | None, option: str) -> dict[str, str]:
    """`NAME=VALUE` options as a dictionary.

    Raises:
        InvalidRequest: One has no `=`, or a name stands twice.
    """
    found: dict[str, str] = {}
    for value in values or ():
        name, equals, rest = value.partition("=")
        if not (name and equals and rest):
            raise InvalidRequest(f"{option} {value!r} is not of the form NAME=VALUE")
        if name in found:
            raise InvalidRequest(f"{option} names {name!r} twice")
        found[name] = rest
    return found


def folders(evidence: Sequence[Path] | None) -> tuple[str, ...]:
    """The folders of evidence, as settings have them."""
    return tuple(map(str, evidence or ()))


def scorer_settings(name: str | None, url: str | None, model: str | None) -> dict[str, str | None]:
    """The settings of the scorer; its key comes from the environment alone, so that no list of processes shows it."""
    key = os.environ.get("UNHITCH_SCORER_API_KEY") or None
    return {"scorer": name, "scorer_url": url, "scorer_model": model, "scorer_api_key": key}


def template_kwargs(value: str) -> dict[str, Any]:
    """The variables of --default-chat-template-kwargs.

    Raises:
        InvalidRequest: It is no JSON object.
    """
    try:
        found = json.loads(value)
    except ValueError as error:
        raise InvalidRequest(f"--default-chat-template-kwargs {value!r} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidRequest(f"--default-chat-template-kwargs {value!r} is no JSON object")
    return found


def template_source(path: str | None) -> str | None:
    """The source of a template file.

    Raises:
        CheckpointError: It cannot be read.
    """
    if path is None:
        return None
    try:
        return Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the chat template {path!r} cannot be read: {error}") from error


def settings(**values: object) -> Config:
    """The proxy's settings.

    Raises:
        InvalidRequest: A value is out of its range; the message names it.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise InvalidRequest(f"the settings are not valid: {faults}") from error
