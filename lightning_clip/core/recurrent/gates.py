"""`GateMeter`: samples the gradient norm of each gate of LSTM and GRU layers."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from lightning_clip.core.gradients import Gradients
from lightning_clip.core.names import plain_name
from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.record.step_record import StepRecord
from lightning_clip.core.recurrent.names import RecurrentName
from lightning_clip.functional.norms import tensor_norms
from lightning_clip.functional.sharded import is_sharded

GATES: Mapping[int, tuple[str, ...]] = {
    4: ("input", "forget", "cell", "output"),
    3: ("reset", "update", "new"),
}
"""The gate names of an LSTM (4) and a GRU (3), in the order in which `torch.nn` stacks their rows."""

GATE_NORMS = "gate-norms"
"""The kind of a measurement whose data are gate norms by parameter name."""

_GATED: Mapping[type[nn.Module], int] = {nn.LSTM: 4, nn.LSTMCell: 4, nn.GRU: 3, nn.GRUCell: 3}


class GateMeter:
    """Measures the norm of each gate's rows in the gradients of LSTM and GRU layers, once every `every_n_steps` steps.

    It reads nothing from the device. Sharded gradients are ignored because their rows are spread over processes.

    Args:
        every_n_steps: The number of optimizer steps between measurements, for each optimizer.

    Example:
        >>> layer = nn.GRU(2, 3)
        >>> layer(torch.ones(4, 1, 2))[0].sum().backward()
        >>> meter = GateMeter(50)
        >>> meter.watch(layer)
        >>> {name: tuple(norms.shape) for name, norms in meter.measure(Gradients.of_module(layer), 0).items()}
        {'weight_ih_l0': (3,), 'weight_hh_l0': (3,), 'bias_ih_l0': (3,), 'bias_hh_l0': (3,)}
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self._gates: dict[str, int] = {}
        self._measured: dict[int, int] = {}

    def watch(self, module: nn.Module) -> None:
        """Find the LSTM and GRU layers and cells of a module.

        Args:
            module: The module being trained.
        """
        self._gates = {
            plain_name(f"{prefix}.{name}" if prefix else name): gates
            for prefix, layer in module.named_modules()
            for kind, gates in _GATED.items()
            if isinstance(layer, kind)
            for name, _ in layer.named_parameters(recurse=False)
            if (parsed := RecurrentName.parse(name)) is not None and parsed.path != "projection"
        }

    def measure(self, grads: Gradients, optimizer: int, *, now: bool = False) -> Mapping[str, Tensor]:
        """Measure the norm of each gate's block in each gradient, if a measurement is due.

        Args:
            grads: The gradients that the optimizer is about to apply.
            optimizer: The optimizer's position in `trainer.optimizers`.
            now: Whether to measure even if no measurement is due.

        Returns:
            The norms by parameter name, each `(gates,)` in the order of `GATES`; empty between measurements.
        """
        if not self._gates or not len(grads) or not (now or self._is_due(grads.step, optimizer)):
            return {}
        self._measured[optimizer] = grads.step
        gated = {
            name: tensor.chunk(self._gates[name])
            for name, tensor in zip(grads.names, grads.tensors, strict=True)
            if name in self._gates and not is_sharded(tensor)
        }
        with torch.no_grad():
            norms = tensor_norms([block for blocks in gated.values() for block in blocks])
        return dict(zip(gated, torch.split(norms, [len(blocks) for blocks in gated.values()]), strict=True))

    def _is_due(self, step: int, optimizer: int) -> bool:
        """Return whether this is the first step of an interval, or that step again, as with LBFGS."""
        latest = self._measured.get(optimizer)
        return latest is None or step == latest or step // self.every_n_steps != latest // self.every_n_steps

    def state_dict(self) -> dict[str, Any]:
        """Return the step of the latest measurement, by optimizer."""
        return {"measured": dict(self._measured)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._measured = dict(state["measured"])


def gate_measurements(records: Sequence[StepRecord]) -> list[Measurement]:
    """Collect the gate norms in step records, without steps that have no gradient or a norm that is NaN or infinite.

    Args:
        records: The records, in order.

    Returns:
        Measurements of the kind `GATE_NORMS`. Their data are lists in the order of `GATES`, by parameter name.
    """
    found = [(record.step, record.params.gates) for record in records if record.is_sample and record.params is not None]
    return [Measurement(step, GATE_NORMS, dict(gates)) for step, gates in found if gates and _are_finite(gates)]


def _are_finite(gates: Mapping[str, Sequence[float]]) -> bool:
    return all(isfinite(norm) for norms in gates.values() for norm in norms)
