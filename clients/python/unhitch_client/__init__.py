"""Typed headers and receipts of unhitch, for use beside the openai package.

    client = OpenAI(base_url="http://localhost:8000/v1", default_headers=extra_headers(Perturb(edits=10, seed=7)))
    answer = client.chat.completions.with_raw_response.create(model=..., messages=...)
    receipt(answer).applied

An answer without a receipt raises `NotFromUnhitch`: nothing is silently unmitigated.
"""

from unhitch.errors import HeaderError
from unhitch.headers import Applied
from unhitch_client.errors import NotFromUnhitch, NotMitigated
from unhitch_client.mitigations import (
    Auto,
    Bare,
    BestOf,
    Mitigation,
    Off,
    Perturb,
    Pool,
    PostfixState,
    PrefixState,
    Recase,
    Respace,
    System,
)
from unhitch_client.receipts import Receipt, receipt, require
from unhitch_client.request import extra_headers

__all__ = [
    "Applied",
    "Auto",
    "Bare",
    "BestOf",
    "HeaderError",
    "Mitigation",
    "NotFromUnhitch",
    "NotMitigated",
    "Off",
    "Perturb",
    "Pool",
    "PostfixState",
    "PrefixState",
    "Recase",
    "Receipt",
    "Respace",
    "System",
    "extra_headers",
    "receipt",
    "require",
]
