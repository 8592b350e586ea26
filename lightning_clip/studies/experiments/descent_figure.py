"""`plot_descents`: the paths of gradient descents on an error surface, as a matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_clip._errors import ArgumentError
from lightning_clip.reports.formats import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLORS = ("#D55E00", "#000000", "#009E73", "#CC79A7")
_LEVELS = (-4.0, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5)
_SMALLEST = 1e-5


@dataclass(frozen=True, slots=True)
class Surface:
    """An error as a function of two parameters.

    Attributes:
        x: The values of the first parameter, `(columns,)`.
        y: The values of the second parameter, `(rows,)`.
        errors: The errors, `(rows, columns)`.
        names: The names of the two parameters and of the error.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    errors: NDArray[np.float64]
    names: tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Way:
    """The path of a descent.

    Attributes:
        points: The points, `(steps + 1, 2)`, the start first.
        errors: The error at each point, `(steps + 1,)`.
    """

    points: NDArray[np.float64]
    errors: NDArray[np.float64]


def plot_descents(surface: Surface, ways: Mapping[str, Way], *, small: float, title: str) -> Figure:
    """Plot the paths from one start on the surface, and the error along each path.

    Args:
        surface: The error surface.
        ways: The paths by name. They may leave the surface.
        small: The error that counts as solved.
        title: The title of the figure.

    Returns:
        A matplotlib figure with two plots; save it with `savefig`.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ArgumentError: There are no paths.
    """
    if not ways:
        raise ArgumentError("plot_descents(ways={}): ways must contain at least one path.")
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'plot_descents needs matplotlib: pip install "lightning-clip[plot]"', name="matplotlib"
        ) from error
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    _plot_surface(figure, left, surface)
    widths = np.linspace(2.6, 1.2, len(ways))  # two equal paths are both visible
    for (name, way), color, width in zip(ways.items(), cycle(_COLORS), widths, strict=False):
        _plot_way(left, surface, way, name, color=color, linewidth=width)
        right.plot(np.maximum(way.errors, _SMALLEST), color=color, linewidth=width - 0.4, label=name)
    left.plot(*next(iter(ways.values())).points[0], "*", color="white", markersize=17, markeredgecolor="black")
    left.legend(loc="upper right")
    right.axhline(small, color="gray", linewidth=1, linestyle="--", label=f"solved: {number(small)}")
    right.set(xlabel="step", ylabel=surface.names[2], title="Error along the path")
    right.set(yscale="log", ylim=(_SMALLEST, None))
    right.legend(loc="upper right", bbox_to_anchor=(1, 0.8))
    figure.suptitle(title)
    return figure


def _plot_surface(figure: Any, axes: Any, surface: Surface) -> None:
    logs = np.log10(np.maximum(surface.errors, 10 ** _LEVELS[0]))
    colors = axes.contourf(surface.x, surface.y, logs, levels=np.linspace(_LEVELS[0], 0, 65), cmap="Blues", vmax=1.0)
    axes.contour(surface.x, surface.y, logs, levels=_LEVELS, colors="gray", linewidths=0.4, linestyles="solid")
    ticks = range(int(_LEVELS[0]), 1)
    bar = figure.colorbar(colors, ax=axes, pad=0.01, ticks=ticks, format=lambda tick, _: f"$10^{{{tick:.0f}}}$")
    bar.set_label(surface.names[2])
    limits = {"xlim": surface.x[[0, -1]], "ylim": surface.y[[0, -1]]}
    axes.set(xlabel=surface.names[0], ylabel=surface.names[1], title="Path from the start (star)", **limits)


def _plot_way(axes: Any, surface: Surface, way: Way, name: str, **style: Any) -> None:
    inside = (way.points >= (surface.x[0], surface.y[0])) & (way.points <= (surface.x[-1], surface.y[-1]))
    outside = np.flatnonzero(~inside.all(axis=1))
    longest = max(np.linalg.norm(np.diff(way.points, axis=0), axis=1), default=0.0)
    label = f"{name}: longest step {number(longest)}"
    if len(outside):
        label += f", leaves the plot at step {outside[0]}"
    axes.plot(*way.points.T, marker="o", markersize=3, label=label, **style)
