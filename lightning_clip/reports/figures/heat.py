"""`plot_lags` and `plot_updates`: heat maps of what monitors measured, over the steps of a run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_clip.core.record.update_sizes import UpdateSizes
from lightning_clip.core.recurrent.temporal_profile import TemporalProfile
from lightning_clip.reports.figures.look import HEAT, whole_numbers
from lightning_clip.reports.formats import shorten_all

_DECADES = 8.0
_SHOWN_PARAMETERS = 16
_NAME_WIDTH = 32


def plot_lags(axes: Any, profiles: Sequence[TemporalProfile]) -> None:
    """Draw lag × step: how far the gradient of a recurrent layer reaches back, over the run.

    Args:
        axes: Empty matplotlib axes.
        profiles: At least two profiles of one layer, in order.
    """
    longest = max(len(one.norms) for one in profiles)
    table = np.full((longest, len(profiles)), np.nan)
    for column, one in enumerate(profiles):
        norms = np.array(one.norms)
        unit = norms[0] if np.isfinite(norms[0]) and norms[0] > 0 else 1.0
        table[: len(norms), column] = _log(norms / unit)
    high = float(np.nanmax(table)) if np.isfinite(table).any() else 0.0
    label = "log10 of the norm\nrelative to lag 0"
    _draw(axes, np.clip(table, high - _DECADES, None), [one.step for one in profiles], label)
    axes.set(title=f"Gradient through time in {profiles[-1].layer}", xlabel="optimizer step", ylabel="lag")


def plot_updates(axes: Any, samples: Sequence[UpdateSizes]) -> None:
    """Draw parameter × step: the update ratio ‖Δw‖ / ‖w‖ of the parameters with the largest ratios, over the run.

    Args:
        axes: Empty matplotlib axes.
        samples: At least two samples of one optimizer, in order.
    """
    ratios = [one.update_ratios for one in samples]
    largest: dict[str, float] = {}
    for own in ratios:
        for name, ratio in own.items():
            largest[name] = max(largest.get(name, 0.0), ratio if np.isfinite(ratio) else 0.0)
    names = sorted(largest, key=lambda name: -largest[name])[:_SHOWN_PARAMETERS]
    table = _log(np.array([[own.get(name, np.nan) for own in ratios] for name in names]))
    _draw(axes, table, [one.step for one in samples], "log10 of ‖Δw‖ / ‖w‖")
    axes.set_yticks(np.arange(len(names)) + 0.5, shorten_all(names, _NAME_WIDTH))
    axes.invert_yaxis()
    axes.set(title="Update ratio of each parameter", xlabel="optimizer step")


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The decimal logarithm; NaN for what is not positive and finite, which stays white."""
    shown = np.isfinite(values) & (values > 0)
    logs: NDArray[np.float64] = np.log10(values, out=np.full(values.shape, np.nan), where=shown)
    return logs


def _draw(axes: Any, table: NDArray[np.float64], steps: Sequence[int], label: str) -> None:
    """Draw a table of `(rows, columns)`, each column as wide as the steps to the next one."""
    edges = [*steps, steps[-1] + max(1, steps[-1] - steps[-2])]
    mesh = axes.pcolormesh(edges, np.arange(len(table) + 1), np.ma.masked_invalid(table), cmap=HEAT, rasterized=True)
    whole_numbers(axes.xaxis)
    axes.figure.colorbar(mesh, ax=axes, label=label)
