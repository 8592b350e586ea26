"""`RecurrentLayer`: the blocks of weights in a layer of `torch.nn`, and what the states of its units say."""

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
    """One kind of recurrent unit.

    Attributes:
        label: What it is called.
        gates: The blocks in its recurrent weights, in their order.
        bounds: For each block 1 / max|f'|, with f what its pre-activation goes through: 1 for tanh and ReLU, 4 for a
            sigmoid.
        kept: The sigmoid gate that says how much of the state is kept from one step to the next.
    """

    label: str
    gates: tuple[str, ...]
    bounds: tuple[float, ...]
    kept: int | None = None

    @property
    def sigmoids(self) -> list[int]:
        """The blocks that are sigmoid gates."""
        return [position for position, bound in enumerate(self.bounds) if bound == 4.0]


CELLS = {
    "RNN_TANH": CellType("tanh", ("",), (1.0,)),
    "RNN_RELU": CellType("relu", ("",), (1.0,)),
    "LSTM": CellType("lstm", ("input", "forget", "cell", "output"), (4.0, 4.0, 1.0, 4.0), kept=1),
    "GRU": CellType("gru", ("reset", "update", "new"), (4.0, 4.0, 1.0), kept=1),
}


class RecurrentLayer:
    """An `nn.RNN`, `nn.LSTM` or `nn.GRU`, or a subclass of one, and its name.

    Args:
        name: In the module that holds it.
        module: The layer.

    Attributes:
        cell: What its units are.
        suffixes: How its parameters end: `"_l0"`, `"_l0_reverse"`, …
        is_plain: Whether it has the parameters of `torch.nn` and no others, as one that normalises its
            pre-activations has.
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
        """The recurrent weights, one for each suffix, as the module that holds the layer names them."""
        return [f"{self.name}.weight_hh{suffix}".removeprefix(".") for suffix in self.suffixes]

    def blocks(self) -> Tensor:
        """The recurrent weights, block by block; with projections, times the projection that comes before.

        Returns:
            `(suffixes * gates, hidden_size, hidden_size)`, without a gradient, in float32 or better.
        """
        size = self.module.hidden_size
        weights = [self._of("weight_hh", suffix).reshape(len(self.cell.gates), size, -1) for suffix in self.suffixes]
        if self.module.proj_size:
            weights = [weight @ self._of("weight_hr", s) for weight, s in zip(weights, self.suffixes, strict=True)]
        return torch.cat(weights)

    def block_names(self) -> list[tuple[str, str, str, float]]:
        """Of each block in the order of `blocks` the parameter, the gate, the cell and the bound (NaN for none)."""
        bounds = self.cell.bounds if self.is_plain else [math.nan] * len(self.cell.bounds)
        gates = list(zip(self.cell.gates, bounds, strict=True))
        return [(name, gate, self.cell.label, bound) for name in self.weight_names for gate, bound in gates]

    def shares(self, outputs: Tensor, rows: Rows) -> list[dict[str, Tensor]]:
        """What the units were like.

        Units of the top are seen for all sequences; lower layers and gates are computed again for a few, without
        dropout between layers, and not where the layer is not plain.

        Args:
            outputs: All outputs of the layer, `(steps and sequences, directions * size)`.
            rows: Some of what it has read.

        Returns:
            For each suffix: of tanh units `saturated_fraction`; of ReLU units `dead_fraction`; of units with gates
            `forget_gate_mean` (LSTM) or `update_gate_mean` (GRU), the mean of the gate that keeps the state,
            `…_gate_max`, that of the unit with the highest mean, and `saturated_gate_fraction`, the share of gates
            below 0.05 or above 0.95. Each `()`.
        """
        hidden = self.module.num_layers > 1 or self.cell.kept is not None
        depths = self._depths(rows) if self.is_plain and hidden else []
        found = [unit for inputs, states, here in depths for unit in self._inner_shares(rows, inputs, states, here)]
        found = found or [{} for _ in self.suffixes]
        for unit, part in zip(found[-self.directions :], outputs.chunk(self.directions, dim=-1), strict=True):
            unit.update(self._unit_shares(part))
        return found

    def _depths(self, rows: Rows) -> Iterator[tuple[Tensor, Tensor, slice]]:
        """Of each layer from below what it reads, what it returns, and which suffixes it has."""
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
    """The recurrent layers of a module.

    Args:
        module: Searched at every depth.

    Returns:
        Each `nn.RNN`, `nn.LSTM` and `nn.GRU`, in the order of `named_modules()`.
    """
    found = module.named_modules()
    return [RecurrentLayer(name, one) for name, one in found if isinstance(one, nn.RNNBase)]
