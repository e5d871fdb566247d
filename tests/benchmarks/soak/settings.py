"""Names that the parts of the soak share, and the policy file."""

from __future__ import annotations

import json

MODEL = "mini-finance"
ALIAS = "finance-safe"
TEMPLATE_KWARGS = {"enable_thinking": False}
CONTROL_KEY = "control-key-of-the-soak"
ROTATING = ("perturb;seed=1001", "perturb;seed=1002")
"""What the policy `rotating` does, in turn."""


def policy_file(engine_url: str, rotating: str) -> str:
    """The operator's file; JSON is YAML, too."""
    document = {
        "upstreams": {"main": {"urls": [engine_url]}},
        "models": {ALIAS: {"model": MODEL, "policy": "safe"}},
        "policies": {
            "open": {
                "mitigation": "off",
                "clients_may": ["choose", "off"],
                "clients_may_name": ["strict", "drawn", "rotating"],
            },
            "strict": {"mitigation": "perturb;seed=11", "clients_may": []},
            "safe": {"mitigation": "bare", "clients_may": []},
            "drawn": {"mitigation": "perturb", "clients_may": ["seed"]},
            "rotating": {"mitigation": rotating, "clients_may": []},
        },
        "default": "open",
    }
    return json.dumps(document, indent=2)


def broken_file(engine_url: str, number: int) -> str:
    """A file that must not be taken: of a wrong form, with a wrong value, or with what takes a restart."""
    whole = policy_file(engine_url, ROTATING[0])
    return (
        whole[: len(whole) // 2],
        policy_file(engine_url, "perturb;edits=many"),
        policy_file("http://127.0.0.1:1", ROTATING[1]),
    )[number % 3]
