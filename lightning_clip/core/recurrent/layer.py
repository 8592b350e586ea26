"""`RecurrentLayer`: the recurrent weights of an `nn.RNN`, `nn.LSTM` or `nn.GRU` and the statistics of its units."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_clip.core.names import plain_name
from lightning_clip.core.recurrent.rows import Rows
from lightning_clip.functional.recurrence import gate_activations, previous_states, run_depth
from lightning_clip.functional.unit_states import dead_fraction, saturated_fraction, saturated_gate_fraction


@dataclass(frozen=True, slots=True)
class CellType:
    """A type of recurrent unit.

    Attributes:
        label: The name of the type, for instance `"lstm"`.
        gates: The names of the blocks in its recurrent weights, in order.
        bounds: 1 / max|f'| for each block, where f is its activation function: 1 for tanh and ReLU, 4 for a sigmoid.
        kept: The position of the sigmoid gate that controls how much of the state is kept from one step to the next.
    """

    label: str
    gates: tuple[str, ...]
    bounds: tuple[float, ...]
    kept: int | None = None

    @property
    def sigmoids(self) -> list[int]:
        """The positions of the blocks that are sigmoid gates."""
        return [position for position, bound in enumerate(self.bounds) if bound == 4.0]


CELLS = {
    "RNN_TANH": CellType("tanh", ("",), (1.0,)),
    "RNN_RELU": CellType("relu", ("",), (1.0,)),
    "LSTM": CellType("lstm", ("input", "forget", "cell", "output"), (4.0, 4.0, 1.0, 4.0), kept=1),
    "GRU": CellType("gru", ("reset", "update", "new"), (4.0, 4.0, 1.0), kept=1),
}


class RecurrentLayer:
    """An `nn.RNN`, `nn.LSTM` or `nn.GRU`, or an instance of a subclass, with its name.

    Args:
        name: The name of the layer in the module that contains it.
        module: The layer.

    Attributes:
        cell: The type of its units.
        suffixes: The suffixes of its parameter names: `"_l0"`, `"_l0_reverse"`, …
        is_plain: Whether it has only the parameters of `torch.nn`'s layers. A layer that normalizes its
            pre-activations, for instance, has more.
    """

    def __init__(self, name: str, module: nn.RNNBase) -> None:
        self.name = plain_name(f"{name}.")[:-1]
        self.module = module
        self.cell = CELLS[module.mode]
        self.directions = 2 if module.bidirectional else 1
        ends = ("", "_reverse")[: self.directions]
        self.suffixes = [f"_l{depth}{end}" for depth in range(module.num_layers) for end in ends]
        kinds = ("weight_ih", "weight_hh", "weight_hr", "bias_ih", "bias_hh")
        own = {f"{kind}{suffix}" for kind in kinds for suffix in self.suffixes}
        self.is_plain = all(name in own for name, _ in module.named_parameters())

    @property
    def weight_names(self) -> list[str]:
        """The full name of the recurrent weight for each suffix."""
        return [f"{self.name}.weight_hh{suffix}".removeprefix(".") for suffix in self.suffixes]

    def blocks(self) -> Tensor:
        """Return the recurrent weights as square blocks, one per gate; with projections, multiplied by the projection.

        Returns:
            `(suffixes * gates, hidden_size, hidden_size)`, detached, in float32 or better.
        """
        size = self.module.hidden_size
        weights = [self._of("weight_hh", suffix).reshape(len(self.cell.gates), size, -1) for suffix in self.suffixes]
        if self.module.proj_size:
            weights = [weight @ self._of("weight_hr", s) for weight, s in zip(weights, self.suffixes, strict=True)]
        return torch.cat(weights)

    def block_names(self) -> list[tuple[str, str, str, float]]:
        """Return parameter, gate, cell and bound (NaN for none) of each block, in the order of `blocks`."""
        bounds = self.cell.bounds if self.is_plain else [math.nan] * len(self.cell.bounds)
        gates = list(zip(self.cell.gates, bounds, strict=True))
        return [(name, gate, self.cell.label, bound) for name in self.weight_names for gate, bound in gates]

    def shares(self, outputs: Tensor, rows: Rows) -> list[dict[str, Tensor]]:
        """Measure how saturated the units and gates are.

        The units of the top layer are measured on all sequences. Lower layers and gates are recomputed for a few
        sequences, without dropout between layers, and only if the layer is plain.

        Args:
            outputs: All outputs of the layer, `(steps and sequences, directions * size)`.
            rows: A few of the sequences that the layer read.

        Returns:
            One dictionary per suffix, each value `()`: `saturated_fraction` for tanh units; `dead_fraction` for ReLU
            units; for LSTM and GRU units `forget_gate_mean` or `update_gate_mean`, the mean of the gate that keeps the
            state, `…_gate_max`, the mean of that gate in the unit where it is highest, and `saturated_gate_fraction`,
            the fraction of gates below 0.05 or above 0.95.
        """
        hidden = self.module.num_layers > 1 or self.cell.kept is not None
        depths = self._depths(rows) if self.is_plain and hidden else []
        found = [unit for inputs, states, here in depths for unit in self._inner_shares(rows, inputs, states, here)]
        found = found or [{} for _ in self.suffixes]
        for unit, part in zip(found[-self.directions :], outputs.chunk(self.directions, dim=-1), strict=True):
            unit.update(self._unit_shares(part))
        return found

    def _depths(self, rows: Rows) -> Iterator[tuple[Tensor, Tensor, slice]]:
        """Yield the inputs, outputs and suffix positions of each depth, from the bottom up."""
        inputs, outputs = rows.inputs, rows.outputs
        for depth in range(self.module.num_layers):
            here = slice(depth * self.directions, (depth + 1) * self.directions)
            if self.module.num_layers > 1:
                parameters = [parameter for suffix in self.suffixes[here] for parameter in self._parameters(suffix)]
                start = tuple(state[here] for state in rows.start)
                outputs = run_depth(self.module.mode, inputs, rows.sizes, start, parameters)
            yield inputs, outputs, here
            inputs = outputs

    def _inner_shares(self, rows: Rows, inputs: Tensor, outputs: Tensor, here: slice) -> Iterator[dict[str, Tensor]]:
        states, starts, sizes = outputs.chunk(self.directions, dim=1), rows.start[0][here], rows.sizes.tolist()
        for part, start, suffix in zip(states, starts, self.suffixes[here], strict=True):
            before = previous_states(part, sizes, start, backwards=suffix.endswith("_reverse"))
            yield self._unit_shares(part) | self._gate_shares(inputs, before, suffix)

    def _unit_shares(self, states: Tensor) -> dict[str, Tensor]:
        if self.cell.label == "tanh":
            return {"saturated_fraction": saturated_fraction(states)}
        return {"dead_fraction": dead_fraction(states)} if self.cell.label == "relu" else {}

    def _gate_shares(self, inputs: Tensor, before: Tensor, suffix: str) -> dict[str, Tensor]:
        if self.cell.kept is None:
            return {}
        w_ih, w_hh, *others = self._parameters(suffix)
        biases = (others[0], others[1]) if self.module.bias else None
        sigmoids = self.cell.sigmoids
        gates = gate_activations(inputs, before, (w_ih, w_hh), biases, sigmoids, self.module.hidden_size)
        kept = gates[sigmoids.index(self.cell.kept)].mean(dim=0)
        name = f"{self.cell.gates[self.cell.kept]}_gate"
        shares = {f"{name}_mean": kept.mean(), f"{name}_max": kept.amax()}
        return {**shares, "saturated_gate_fraction": saturated_gate_fraction(gates)}

    def _parameters(self, suffix: str) -> list[Tensor]:
        biases = ("bias_ih", "bias_hh") if self.module.bias else ()
        projection = ("weight_hr",) if self.module.proj_size else ()
        return [self._of(kind, suffix) for kind in ("weight_ih", "weight_hh", *biases, *projection)]

    def _of(self, kind: str, suffix: str) -> Tensor:
        weight: Tensor = getattr(self.module, f"{kind}{suffix}")
        return weight.detach().to(torch.promote_types(weight.dtype, torch.float32))


def recurrent_layers(module: nn.Module) -> list[RecurrentLayer]:
    """Find the recurrent layers of a module.

    Args:
        module: The module, searched recursively.

    Returns:
        Each `nn.RNN`, `nn.LSTM` and `nn.GRU`, in the order of `named_modules()`.
    """
    found = module.named_modules()
    return [RecurrentLayer(name, one) for name, one in found if isinstance(one, nn.RNNBase)]
