"""The numbers that loggers are given about recurrent layers."""

import numpy as np

from lightning_clip.core.recurrent.gates import GATES
from lightning_clip.core.record.step_record import ParamNorms
from lightning_clip.core.recurrent.names import RecurrentLayer, RecurrentName


def recurrent_norms(params: ParamNorms) -> dict[str, float]:
    """Norms by path and by gate: of all recurrent layers together, and of each where there are several.

    Args:
        params: The gradients of one step.

    Returns:
        Norm by `input-hidden`, `hidden-hidden`, `projection`, `bias` and, where gates were measured, `gate_forget` and
        so on; of one layer by `hidden-hidden_l0`, by `encoder.hidden-hidden_l0` where several modules have layers.

    Example:
        >>> names = ("rnn.weight_hh_l0", "rnn.weight_hh_l1", "head.weight")
        >>> recurrent_norms(ParamNorms(names, np.array([3.0, 4.0, 9.0]), np.zeros(3, dtype=bool)))
        {'hidden-hidden': 5.0, 'hidden-hidden_l0': 3.0, 'hidden-hidden_l1': 4.0}
    """
    parsed = {name: found for name in params.names if (found := RecurrentName.parse(name)) is not None}
    layers = {found.layer for found in parsed.values()}
    modules = {layer.module for layer in layers}
    groups: dict[str, list[float]] = {}

    def add(what: str, layer: RecurrentLayer, norm: float) -> None:
        groups.setdefault(what, []).append(norm)
        if len(layers) > 1:
            of_layer = f"{layer.module}.{what}" if len(modules) > 1 else what
            groups.setdefault(of_layer + layer.suffix, []).append(norm)

    for name, norm in zip(params.names, params.before.tolist(), strict=True):
        if name in parsed:
            add(parsed[name].path, parsed[name].layer, norm)
    for name, norms in params.gates.items():
        for gate, norm in zip(GATES[len(norms)], norms, strict=True):
            add(f"gate_{gate}", parsed[name].layer, norm)
    return {key: float(np.linalg.norm(norms)) for key, norms in groups.items()}
