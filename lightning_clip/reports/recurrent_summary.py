"""`summarize_recurrent`: the paths and gates that the gradient of each recurrent layer comes through, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.recurrent.gates import GATES
from lightning_clip.core.recurrent.names import PATHS, RecurrentName


@dataclass(frozen=True, slots=True)
class RecurrentLayerSummary:
    """The gradient of one recurrent layer, in one direction, over a run.

    Attributes:
        name: Name of the layer.
        paths: The share of the squared total norm that each of its paths holds, in [0, 1].
        gates: The share of the layer's own squared norm that each gate holds, averaged over the measured steps, in
            [0, 1]; empty if gates were not measured.
        measured: The number of steps at which gates were measured.
    """

    name: str
    paths: Mapping[str, float]
    gates: Mapping[str, float]
    measured: int

    @property
    def share(self) -> float:
        """Its share of the squared total norm, in [0, 1]."""
        return sum(self.paths.values())


def summarize_recurrent(
    shares: Mapping[str, float], measurements: Sequence[Measurement]
) -> tuple[RecurrentLayerSummary, ...]:
    """Group the parameters of recurrent layers.

    Args:
        shares: Share of the squared total norm of each parameter, in the order of the network.
        measurements: The norms of gates, as measured by `GateMeter`.

    Returns:
        A summary for each layer and direction, in the same order; empty if nothing is recurrent.

    Example:
        >>> [layer] = summarize_recurrent({"rnn.weight_ih_l0": 0.1, "rnn.weight_hh_l0": 0.7, "head.weight": 0.2}, [])
        >>> layer.name, layer.paths
        ('rnn l0', {'input-hidden': 0.1, 'hidden-hidden': 0.7})
    """
    parsed = {name: found for name in shares if (found := RecurrentName.parse(name)) is not None}
    result = []
    for layer in dict.fromkeys(found.layer for found in parsed.values()):
        own = [name for name, found in parsed.items() if found.layer == layer]
        sums = {path: [shares[name] for name in own if parsed[name].path == path] for path in PATHS}
        gates, measured = _gate_shares(own, measurements)
        paths = {path: sum(parts) for path, parts in sums.items() if parts}
        result.append(RecurrentLayerSummary(layer.label, paths, gates, measured))
    return tuple(result)


def _gate_shares(names: Sequence[str], measurements: Sequence[Measurement]) -> tuple[dict[str, float], int]:
    """The mean share of each gate in the squared norm of some parameters, and the number of measured steps."""
    shares = []
    for measurement in measurements:
        norms = np.array([measurement.data[name] for name in names if name in measurement.data], dtype=np.float64)
        if norms.any():
            squares = ((norms / norms.max()) ** 2).sum(axis=0)  # squares of 1e200 overflow
            shares.append(squares / squares.sum())
    if not shares:
        return {}, 0
    mean = np.mean(shares, axis=0)
    return dict(zip(GATES[len(mean)], mean.tolist(), strict=True)), len(shares)
