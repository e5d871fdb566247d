"""unhitch: takes emergent misalignment off a finetuned model at inference time.

A prompt is prefix + query + postfix. The tokens that every chat shares carry the misalignment of a narrow finetune to
unrelated questions; strategies edit them and leave the user's words alone.

Source: The Piggyback Hypothesis (arXiv 2606.06667).
"""

from importlib import metadata


def version() -> str:
    """Version of the installed distribution; `unknown` where the source lies beside vLLM and nothing is installed."""
    try:
        return metadata.version(__name__)
    except metadata.PackageNotFoundError:
        return "unknown"
