"""What all figures of runs share: matplotlib's class of figures, and colors that stay apart for color-blind readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_clip.reports.formats import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The palette of Okabe and Ito (2008), whose colors stay apart for color-blind readers; line styles do so in gray.
AFTER, BEFORE, LIMIT, SWITCH, LOSS, MARK = "#0072B2", "#D55E00", "#000000", "#CC79A7", "#009E73", "#B00020"
HEAT = "viridis"
"""A color map whose lightness rises evenly, so that it reads the same in gray."""


def figure_class(caller: str) -> type[Figure]:
    """Import matplotlib, and return its class of figures.

    Args:
        caller: The function that needs it.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; says how to install it.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{caller} needs matplotlib: pip install "lightning-clip[plot]"', name="matplotlib"
        ) from error
    return Figure


def tidy(axes: Any, steps: int | None = None) -> None:
    """Leave out the frame at the top and at the right.

    Args:
        axes: The axes.
        steps: The number of optimizer steps on the horizontal axis, so that plots below each other line up; `None` for
            another axis.
    """
    axes.spines[["top", "right"]].set_visible(False)
    if steps is not None:
        axes.set_xlim(0, max(steps, 1))
        whole_numbers(axes.xaxis)


def whole_numbers(axis: Any) -> None:
    """Write large numbers as `200,000`, not as 0.2 with a power of ten at the end of the axis.

    Args:
        axis: A linear axis.
    """
    axis.set_major_formatter("{x:,.10g}")


def plain_log(axis: Any) -> None:
    """Write the numbers of a logarithmic axis within few decades as `3` and `20`, not as powers of ten.

    Args:
        axis: The axis; a linear one is left alone.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if axis.get_scale() != "log":
        return
    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high / low) if low > 0 else 9.0
    if decades < _FEW_DECADES:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades > _FEWER_DECADES else (1, 1.5, 2, 3, 4, 5, 7)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        axis.set_minor_formatter(NullFormatter())


_FEW_DECADES, _FEWER_DECADES = 2.5, 1.0
