"""Units, gates and weight blocks of fused recurrent layers, compared with layers unrolled by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from lightning_clip.core.recurrent.layer import RecurrentLayer, recurrent_layers
from lightning_clip.core.recurrent.rows import first_rows
from lightning_clip.modules import ClippedLSTM, LayerNormRNN
from tests.references.recurrent import shares as reference

LENGTHS = (3, 7, 5, 7)
MODES = {
    "RNN_TANH": (nn.RNN, {}),
    "RNN_RELU": (nn.RNN, {"nonlinearity": "relu"}),
    "LSTM": (nn.LSTM, {}),
    "GRU": (nn.GRU, {}),
}
of_each_mode = pytest.mark.parametrize("mode", MODES)


def layer_of(mode: str, **options) -> nn.RNNBase:
    """Return a layer with weights large enough to saturate units and gates, and to make ReLU units die."""
    torch.manual_seed(0)
    cls, own = MODES[mode]
    layer = cls(5, 6, dtype=torch.float64, **own, **options)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.mul_(4.0 if "weight_ih" in name else 2.0)
            if "bias" in name:
                parameter.sub_(1.5 if mode == "RNN_RELU" else 0.5)
    return layer


def sequences(lengths=LENGTHS) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(length, 5, generator=generator, dtype=torch.float64) for length in lengths]


def start_of(layer: nn.RNNBase, rows: int = len(LENGTHS)):
    generator, depth = torch.Generator().manual_seed(2), layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = [layer.proj_size or layer.hidden_size, *([layer.hidden_size] if layer.mode == "LSTM" else [])]
    states = tuple(torch.randn(depth, rows, size, generator=generator, dtype=torch.float64) for size in sizes)
    return states if layer.mode == "LSTM" else states[0]


def measured(module: nn.RNNBase, inputs, hx=None, rows: int = 99):
    output = module(inputs, hx)[0]
    values = output.data if hasattr(output, "batch_sizes") else output.flatten(0, -2)
    return RecurrentLayer("rnn", module).shares(values.detach(), first_rows(module, inputs, output, hx, rows))


def expected(module: nn.RNNBase, inputs: list[torch.Tensor], hx=None):
    ends = ("", "_reverse") if module.bidirectional else ("",)
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    of = dict(module.named_parameters())
    layers = [
        [{k: of[f"{k}_l{d}{e}"].detach().numpy() for k in kinds if f"{k}_l{d}{e}" in of} for e in ends]
        for d in range(module.num_layers)
    ]
    states = start_of(module, len(inputs)) if hx is None else hx
    states = [s.numpy() * (0.0 if hx is None else 1.0) for s in (states if isinstance(states, tuple) else (states,))]
    starts = [
        [[tuple(s[d * len(ends) + i, row] for s in states) for row in range(len(inputs))] for i in range(len(ends))]
        for d in range(module.num_layers)
    ]
    return reference(module.mode, layers, [x.numpy() for x in inputs], starts)


def assert_same(found, reference) -> None:
    assert len(found) == len(reference)
    for ours, theirs in zip(found, reference, strict=True):
        assert {name: float(value) for name, value in ours.items()} == pytest.approx(theirs, abs=1e-6)


@of_each_mode
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("given", [False, True], ids=["zeros", "state"])
def test_units_and_gates_are_those_of_the_unrolled_layer(mode, bias, bidirectional, num_layers, given):
    """They match for packed sequences of different lengths, every depth and direction, with and without a state."""
    module = layer_of(mode, bias=bias, bidirectional=bidirectional, num_layers=num_layers)
    hx = start_of(module) if given else None
    found = measured(module, pack_sequence(sequences(), enforce_sorted=False), hx)
    assert_same(found, expected(module, sequences(), hx))
    assert len(found) == num_layers * (2 if bidirectional else 1)


@of_each_mode
@pytest.mark.parametrize("batch_first", [False, True])
def test_padded_batches_may_have_either_order(mode, batch_first):
    """Steps first or batch first, the result is the same."""
    module, rows = layer_of(mode, num_layers=2, batch_first=batch_first), sequences((7, 7, 7))
    hx = start_of(module, 3)
    assert_same(measured(module, torch.stack(rows, dim=0 if batch_first else 1), hx), expected(module, rows, hx))


@of_each_mode
def test_one_sequence_without_a_batch_is_a_batch_of_one(mode):
    """An unbatched sequence with an unbatched state is measured like a batch of one."""
    module, rows = layer_of(mode, num_layers=2, bidirectional=True), sequences((7,))
    hx = start_of(module, 1)
    flat = tuple(state[:, 0] for state in hx) if isinstance(hx, tuple) else hx[:, 0]
    assert_same(measured(module, rows[0], flat), expected(module, rows, hx))


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_projections_are_taken_into_account(num_layers, bidirectional):
    """Gates read the projected state, and blocks are products with the projection."""
    module = layer_of("LSTM", proj_size=2, num_layers=num_layers, bidirectional=bidirectional)
    hx = start_of(module)
    assert_same(
        measured(module, pack_sequence(sequences(), enforce_sorted=False), hx), expected(module, sequences(), hx)
    )
    blocks = RecurrentLayer("rnn", module).blocks()
    assert blocks.shape == (4 * num_layers * (2 if bidirectional else 1), 6, 6)
    torch.testing.assert_close(blocks[1], module.weight_hh_l0.detach()[6:12] @ module.weight_hr_l0.detach())


@pytest.mark.parametrize("mode", ["LSTM", "GRU"])
def test_a_few_rows_are_the_longest_of_a_packed_batch_or_the_first_of_a_padded_one(mode):
    """Gates are recomputed only for the requested number of sequences."""
    module, rows = layer_of(mode), sequences()
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))[:2]
    found = measured(module, pack_sequence(rows, enforce_sorted=False), rows=2)
    assert_same(found, expected(module, [rows[row] for row in order]))
    equal = sequences((7, 7, 7))
    assert_same(measured(module, torch.stack(equal, dim=1), rows=2), expected(module, equal[:2]))


def test_the_top_layer_is_measured_on_the_whole_batch():
    """A unit that is dead in one sequence may be alive in another."""
    module, rows = layer_of("RNN_RELU"), sequences((7, 7, 7))
    assert_same(measured(module, torch.stack(rows, dim=1), rows=1), expected(module, rows))
    alone = [float(measured(module, torch.stack([row], dim=1))[0]["dead_fraction"]) for row in rows]
    assert 0 < float(measured(module, torch.stack(rows, dim=1), rows=1)[0]["dead_fraction"]) < min(alone)


def test_half_precision_is_computed_in_float32():
    """Weights, inputs and states in bfloat16 give the results of float32."""
    module, rows = layer_of("GRU", num_layers=2).bfloat16(), torch.stack(sequences((7, 7)), dim=1).bfloat16()
    wide = expected(module.double(), [row.double() for row in rows.unbind(1)])
    assert_same(
        [{k: round(float(v), 2) for k, v in one.items()} for one in measured(module.bfloat16(), rows)],
        [{k: pytest.approx(v, abs=0.02) for k, v in one.items()} for one in wide],
    )


@of_each_mode
def test_non_finite_states_give_nan(mode):
    """A diverged network is called neither dead nor healthy."""
    module = layer_of(mode)
    with torch.no_grad():
        module.weight_hh_l0[0, 0] = math.nan
    found = measured(module, torch.stack(sequences((7, 7)), dim=1))
    assert all(math.isnan(value) for value in found[0].values())
    assert found[0]


@of_each_mode
def test_blocks_are_named_with_parameter_gate_and_bound(mode):
    """There is one block per gate, depth and direction, in the order of the weights."""
    layer = RecurrentLayer("encoder._orig_mod.rnn", layer_of(mode, num_layers=2, bidirectional=True))
    names, gates, cells, bounds = zip(*layer.block_names(), strict=True)
    assert list(dict.fromkeys(names)) == layer.weight_names
    assert layer.weight_names[1] == "encoder.rnn.weight_hh_l0_reverse"
    assert len(names) == len(layer.blocks()) == 4 * len(layer.cell.gates)
    expected = {"LSTM": (4.0, 4.0, 1.0, 4.0), "GRU": (4.0, 4.0, 1.0)}.get(mode, (1.0,))
    assert bounds[: len(expected)] == expected
    assert gates[: len(expected)] == layer.cell.gates
    assert set(cells) == {layer.cell.label}
    torch.testing.assert_close(layer.blocks()[: len(expected)].flatten(0, 1), layer.module.weight_hh_l0.detach())


def test_a_layer_with_extra_parameters_has_no_bounds_and_no_gates():
    """Layer normalization between weights and units makes bounds and recomputed gates invalid."""
    module = LayerNormRNN(5, 6, 2).double()
    layer = RecurrentLayer("rnn", module)
    assert all(math.isnan(bound) for *_, bound in layer.block_names())
    found = measured(module, torch.stack(sequences((7, 7)), dim=1))
    assert [sorted(one) for one in found] == [[], ["saturated_fraction"]]
    assert RecurrentLayer("rnn", ClippedLSTM(5, 6, grad_clip_gates=1.0)).is_plain


def test_every_recurrent_layer_of_a_module_is_found():
    """Layers and instances of subclasses are found at any depth; cells are not layers."""
    module = nn.ModuleDict(
        {"a": nn.GRU(2, 3), "b": nn.Sequential(nn.Linear(2, 2), ClippedLSTM(2, 3)), "c": nn.LSTMCell(2, 3)}
    )
    assert [layer.name for layer in recurrent_layers(module)] == ["a", "b.1"]
    assert recurrent_layers(nn.RNN(2, 3))[0].weight_names == ["weight_hh_l0"]
    compiled = nn.ModuleDict({"rnn": torch.compile(nn.RNN(2, 3), backend="eager")})
    assert recurrent_layers(compiled)[0].weight_names == ["rnn.weight_hh_l0"]
    assert np.isfinite([bound for layer in recurrent_layers(module) for *_, bound in layer.block_names()]).all()
