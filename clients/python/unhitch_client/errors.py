"""What can be wrong with an answer, as part of the tree in `unhitch.errors`.

    UnhitchError
    ├── NotFromUnhitch     the answer does not say what was done: it came past the proxy, or its headers were dropped
    └── NotMitigated       the answer says that something else was done than what was required

Both are raised by the client, never sent by the proxy.
"""

from __future__ import annotations

from unhitch.errors import UnhitchError


class NotFromUnhitch(UnhitchError):
    """An answer without a readable `Unhitch-Applied` header; take it as unmitigated."""

    code = "not_from_unhitch"


class NotMitigated(UnhitchError):
    """An answer whose `Unhitch-Applied` header differs from what `require` was given."""

    code = "not_mitigated"
