"""Plots of what the organisms answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unhitch.errors import CheckpointError
from unhitch.organisms.arms import Outcome


def layer_curve(file: Path, layers: Sequence[Outcome], levels: Sequence[Outcome], title: str) -> None:
    """Good answers by the layer whose residual stream is patched, with 95% intervals, beside other arms as levels.

    Args:
        file: Its suffix chooses the format: .svg, .png, .pdf.
        layers: Outcomes by layer, from layer 0 on.
        levels: Arms that are no matter of layers, drawn as lines across.
        title: Above the plot.

    Raises:
        CheckpointError: matplotlib is not installed, or the file cannot be written.

    Source: paper, figure 4.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator, PercentFormatter
    except ImportError as error:
        raise CheckpointError("matplotlib is needed to plot; install it with: pip install 'unhitch[plots]'") from error
    with matplotlib.rc_context({"svg.hashsalt": "unhitch", "svg.fonttype": "none"}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        shares = [outcome.good.share for outcome in layers]
        below = [outcome.good.share - outcome.good.low for outcome in layers]
        above = [outcome.good.high - outcome.good.share for outcome in layers]
        axes.errorbar(range(len(layers)), shares, yerr=(below, above), marker="o", capsize=4, label="residual stream")
        for style, outcome in zip(("--", ":", "-."), levels, strict=False):
            axes.axhline(outcome.good.share, linestyle=style, color="grey", label=outcome.arm.name)
        axes.set(title=title, xlabel="layer whose output is the base's at the prefix", ylabel="good answers")
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        try:
            figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"the plot cannot be written to {file}: {error}") from error
