"""Parsing the names of recurrent parameters."""

import pytest
import torch
from torch import nn

from lightning_clip.core.recurrent.names import PATHS, LayerName, RecurrentName


def parsed(module: nn.Module) -> dict[str, RecurrentName | None]:
    return {name: RecurrentName.parse(name) for name, _ in module.named_parameters()}


@pytest.mark.parametrize("layer", [nn.RNN(2, 3), nn.GRU(2, 3), nn.LSTM(2, 3, num_layers=2, bidirectional=True)])
def test_every_parameter_of_torchs_layers_is_recurrent(layer):
    """Weights and biases have their path, and the suffix is that of torch."""
    for name, found in parsed(layer).items():
        kind, path, suffix = name.split("_", 2)
        assert found.path == {"ih": "input-hidden", "hh": "hidden-hidden"}[path] if kind == "weight" else "bias"
        assert found.layer == LayerName("", f"_{suffix}")
        assert found.path in PATHS


def test_a_projection_has_its_own_path():
    """The weight that `proj_size` adds is a projection."""
    assert RecurrentName.parse("a.b.weight_hr_l1") == RecurrentName(LayerName("a.b", "_l1"), "projection")


def test_cells_have_no_depth():
    """The suffix of a cell's parameters is empty, alone or in a module."""
    assert {found.layer for found in parsed(nn.LSTMCell(2, 3)).values()} == {LayerName("", "")}
    assert RecurrentName.parse("decoder.cell.weight_hh").layer == LayerName("decoder.cell", "")


def test_parametrized_weights_belong_to_their_layer():
    """A parametrized recurrent weight is still the hidden-hidden weight of its layer."""
    net = nn.ModuleDict({"rnn": nn.RNN(2, 3)})
    torch.nn.utils.parametrizations.weight_norm(net["rnn"], "weight_hh_l0")
    assert set(parsed(net).values()) == {
        RecurrentName(LayerName("rnn", "_l0"), path) for path in ("input-hidden", "hidden-hidden", "bias")
    }


@pytest.mark.parametrize("name", ["head.weight", "head.bias", "norm_weight_l0", "ih.weight", "weight_ihx", "bias"])
def test_other_parameters_are_not_recurrent(name):
    """Only names in torch's convention are recurrent."""
    assert RecurrentName.parse(name) is None


@pytest.mark.parametrize(
    ("module", "suffix", "label"),
    [
        ("encoder.rnn", "_l1_reverse", "encoder.rnn l1 reverse"),
        ("cell", "", "cell"),
        ("", "_l0", "l0"),
        ("", "", "cell"),
    ],
)
def test_a_label_has_module_depth_and_direction(module, suffix, label):
    """The label is the name that tables show."""
    assert LayerName(module, suffix).label == label
