"""`bare`: the template's default prefix is dropped."""

from __future__ import annotations

from unhitch.draw import Draw
from unhitch.errors import MitigationUnavailable
from unhitch.rendering.anatomy import require_prefix
from unhitch.rendering.prompt import Prompt, Span
from unhitch.strategy import Parameters, Strategy


class Bare(Strategy[Parameters]):
    """Leaves of the prefix the token that begins every text (where there is one) and the header of the user's turn.

    Source: paper, appendix B.
    """

    name = "bare"
    version = 1
    summary = "drops the template's default prefix, all but the user header"
    source = "paper, appendix B"

    def edit(self, prompt: Prompt, parameters: Parameters, draw: Draw) -> Prompt:  # noqa: ARG002
        """The prompt without the template's default block.

        Raises:
            MitigationUnavailable: The prefix is empty or holds a system message or tools of the caller's, the user
                header cannot be told apart, or the template puts nothing before it.
        """
        require_prefix(prompt)
        if not prompt.default_prefix:
            raise _unavailable(
                "the prefix holds the caller's system message or tools. `system;mode=drop, bare` drops the message "
                "too; tools are never dropped"
            )
        if not prompt.user_header:
            raise _unavailable(
                "this chat template does not show where the user header begins. Use `system` or `perturb`"
            )
        first = prompt.prefix[:1] if prompt.prefix[0] == prompt.checkpoint.bos_id else ()
        header = prompt.prefix[prompt.user_header.start : prompt.user_header.stop]
        if first + header == prompt.prefix:
            raise _unavailable("this chat template puts nothing before the user header. Use `system` or `perturb`")
        return prompt.with_prefix(first + header, user_header=Span(len(first), len(first) + len(header)))


def _unavailable(reason: str) -> MitigationUnavailable:
    return MitigationUnavailable(f"`bare` has nothing that it may drop: {reason}.", param=Bare.name)
