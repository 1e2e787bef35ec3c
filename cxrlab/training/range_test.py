"""Reading the curve of a learning rate range test: the rate to train with, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_SPREAD = 0.03  # of all steps: SD of the Gaussian that smooths the losses
_SMALLEST_FALL = 0.02  # of the first loss; less is noise
_SKIPPED = 0.05  # of all steps at either end, where smoothing has one side only


@dataclass(frozen=True)
class RangeTest:
    """Losses of steps whose learning rate rose from one to the next.

    Smith, Cyclical Learning Rates for Training Neural Networks, 2017.

    Attributes:
        rates: (N,) of the head, evenly spaced in their logarithm.
        losses: (N,) of the batch of each step, before it; NaN or infinite where it diverged.
    """

    rates: FloatArray
    losses: FloatArray

    def smoothed(self) -> FloatArray:
        """The losses (N,), each a Gaussian mean over its neighbours that are finite."""
        steps = np.arange(len(self.losses))
        spread = max(1.0, _SPREAD * len(steps))
        known = np.isfinite(self.losses)
        weights = np.exp(-0.5 * ((steps[:, None] - steps[None, known]) / spread) ** 2)
        total = np.maximum(weights.sum(axis=1), np.finfo(np.float64).tiny)
        return np.asarray(weights @ self.losses[known] / total)

    def suggestion(self) -> tuple[float | None, str]:
        """The rate at which the smoothed loss falls most steeply over the rate's logarithm.

        Returns:
            The rate, to three digits, and ""; or None, and why there is none.
        """
        known = int(np.isfinite(self.losses).sum())
        margin = max(1, round(_SKIPPED * len(self.losses)))
        if known < 2 * margin + 5:
            return (
                None,
                f"the loss diverged at once, at {self.rates[min(known, len(self.rates) - 1)]:.3g}",
            )
        curve = self.smoothed()
        first = float(curve[:margin].mean())
        # Not past the lowest loss: what falls there is noise on the way up.
        lowest = int(curve[:known].argmin())
        if first - curve[lowest] < _SMALLEST_FALL * abs(first):
            return None, f"the loss never fell by {_SMALLEST_FALL:.0%} from its first {first:.3g}"
        slope = np.gradient(curve, np.log(self.rates))
        steepest = margin + int(slope[margin : max(lowest, margin + 1)].argmin())
        return float(f"{self.rates[steepest]:.3g}"), ""


def draw(test: RangeTest, chosen: float | None, kept: float, file: Path) -> None:
    """Write the curve of a range test as a PNG.

    Args:
        test: the curve.
        chosen: the rate that was found, marked; None: there is none.
        kept: the configured rate, marked where none was found.
        file: where to; its folder is made.
    """
    from cxrlab.evaluation.style import INK, MUTED, PALETTE, look, new_figure, title

    with look():
        figure = new_figure(width=7.0, height=4.6)
        axes = figure.add_subplot()
        found = f"{chosen:g}, where it falls most steeply" if chosen else f"none; {kept:g} is kept"
        title(axes, "Learning rate range test", f"learning rate of the head: {found}")
        axes.plot(test.rates, test.losses, color=MUTED, alpha=0.5, linewidth=1, label="each step")
        axes.plot(test.rates, test.smoothed(), color=PALETTE[0], label="smoothed")
        axes.axvline(chosen or kept, color=PALETTE[1] if chosen else INK, linestyle="--")
        curve = test.smoothed()
        low, high = float(curve.min()), float(curve[: max(1, len(curve) // 4)].max())
        air = 0.4 * max(high - low, 0.05 * abs(high))
        axes.set(
            xscale="log", xlabel="Learning rate", ylabel="Training loss",
            ylim=(low - air, high + 2 * air),
        )  # fmt: skip
        # Not as powers: a `$` is no mathematics in this house's figures.
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
        axes.legend(loc="lower left")
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file)
