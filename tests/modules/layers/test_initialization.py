"""Initialization of recurrent layers, one gate block at a time."""

import math

import pytest
import torch
from torch import nn

from lightning_clip.modules.layers.initialization import chrono_bias, initialize_, set_forget_bias_, set_update_bias_

GATES = {nn.RNN: 1, nn.GRU: 3, nn.LSTM: 4}
each_kind = pytest.mark.parametrize("kind", GATES)


def make(kind: type[nn.RNNBase], **options) -> nn.RNNBase:
    torch.manual_seed(0)
    return kind(5, 16, **{"num_layers": 2, "bidirectional": True, **options})


def named(layer: nn.RNNBase, start: str) -> list[torch.Tensor]:
    return [param.detach() for name, param in layer.named_parameters() if name.startswith(start)]


@each_kind
def test_every_block_is_orthogonal(kind):
    """In each layer and direction, every gate block is orthogonal and different; input weights stay unchanged."""
    layer = make(kind)
    inputs = [weight.clone() for weight in named(layer, "weight_ih")]
    initialize_(layer, "orthogonal")
    seen = []
    for weight in named(layer, "weight_hh"):
        assert weight.shape == (GATES[kind] * 16, 16)
        for block in weight.split(16):
            torch.testing.assert_close(block @ block.T, torch.eye(16), atol=1e-5, rtol=0)
            seen.append(block)
    assert len(seen) == 4 * GATES[kind]
    assert len({tuple(block.flatten().tolist()) for block in seen}) == len(seen)
    assert all(torch.equal(a, b) for a, b in zip(inputs, named(layer, "weight_ih"), strict=True))


@each_kind
def test_every_block_is_the_identity(kind):
    """Every gate block is the identity, as in the IRNN."""
    layer = make(kind)
    initialize_(layer, "identity")
    for weight in named(layer, "weight_hh"):
        assert all(torch.equal(block, torch.eye(16)) for block in weight.split(16))


@each_kind
def test_every_block_fills_the_range_of_xavier(kind):
    """Blocks fill ±sqrt(6 / (rows + columns)) of the block, not of the stacked matrix; so do input weights."""
    layer = make(kind)
    initialize_(layer, "xavier")
    for weight in [*named(layer, "weight_hh"), *named(layer, "weight_ih")]:
        for block in weight.split(16):
            bound = math.sqrt(6 / (16 + block.shape[1]))
            assert 0.9 * bound < block.abs().max() <= bound


@each_kind
@pytest.mark.parametrize("init", ["orthogonal", "identity", "xavier"])
def test_biases_are_zero(kind, init):
    """Both biases are zero in each layer and direction."""
    layer = make(kind)
    initialize_(layer, init)
    assert not any(bias.any() for bias in named(layer, "bias"))


@each_kind
def test_the_default_is_that_of_torch(kind):
    """`"default"` neither draws nor changes anything."""
    layer, twin = make(kind), make(kind)
    initialize_(layer, "default")
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), twin.parameters(), strict=True))


@each_kind
@pytest.mark.parametrize("init", ["default", "orthogonal", "identity", "xavier"])
def test_the_gain_multiplies_recurrent_weights(kind, init):
    """The gain multiplies the recurrent weights and nothing else."""
    plain, louder = make(kind), make(kind)
    for layer, gain in ((plain, 1.0), (louder, 1.5)):
        torch.manual_seed(1)
        initialize_(layer, init, gain=gain)
    for (name, a), b in zip(plain.named_parameters(), louder.parameters(), strict=True):
        torch.testing.assert_close(b, a * 1.5 if "weight_hh" in name else a, msg=name)


@pytest.mark.parametrize("bias", [0, 1.0, 4.6])
def test_forget_gates_start_at_the_bias(bias):
    """Torch's two biases add up to the forget bias; all other gates keep theirs."""
    layer, twin = make(nn.LSTM), make(nn.LSTM)
    set_forget_bias_(layer, bias)
    for name, ours in layer.named_parameters():
        theirs = twin.get_parameter(name)
        if name.startswith("bias_ih"):
            total = ours + layer.get_parameter(name.replace("_ih", "_hh"))
            torch.testing.assert_close(total[16:32], torch.full((16,), float(bias)))
        others = torch.arange(64) // 16 != 1 if name.startswith("bias") else slice(None)
        assert torch.equal(ours[others], theirs[others])


def test_an_lstm_without_input_forgets_at_the_rate_of_its_forget_bias():
    """With all weights zero, 10 steps leave `sigmoid(b)^10` of a cell, so the bias is on the right gate."""
    layer = make(nn.LSTM, num_layers=1, bidirectional=False)
    for param in layer.parameters():
        nn.init.zeros_(param)
    set_forget_bias_(layer, 3.0)
    cells = torch.randn(1, 2, 16)
    _, (_, after) = layer(torch.randn(10, 2, 5), (torch.zeros(1, 2, 16), cells))
    torch.testing.assert_close(after, cells * torch.sigmoid(torch.tensor(3.0)) ** 10)


def test_a_gru_without_input_forgets_at_the_rate_of_its_update_bias():
    """With all weights zero, 10 steps leave `sigmoid(b)^10` of a unit, so a large bias keeps values."""
    layer = make(nn.GRU, num_layers=1, bidirectional=False)
    for param in layer.parameters():
        nn.init.zeros_(param)
    set_update_bias_(layer, 3.0)
    units = torch.randn(1, 2, 16)
    _, after = layer(torch.randn(10, 2, 5), units)
    torch.testing.assert_close(after, units * torch.sigmoid(torch.tensor(3.0)) ** 10)


def test_chrono_spreads_memory_over_all_lags():
    """`exp(bias)` is uniform in [1, max_lag - 1)."""
    torch.manual_seed(0)
    lags = chrono_bias(20_000, 100).exp()
    assert 1.0 <= lags.min() < 1.05
    assert 98.9 < lags.max() <= 99.001
    assert float(lags.mean()) == pytest.approx(50.0, rel=0.02)
    assert float(lags.std()) == pytest.approx(98 / math.sqrt(12), rel=0.02)


def test_chrono_lets_in_as_little_as_it_forgets():
    """Input gates get the negative of the forget bias; each layer and direction has its own draw."""
    layer = make(nn.LSTM)
    set_forget_bias_(layer, "chrono", max_lag=100)
    forget = [bias[16:32] for bias in named(layer, "bias_ih")]
    for ih, hh, expected in zip(named(layer, "bias_ih"), named(layer, "bias_hh"), forget, strict=True):
        torch.testing.assert_close(ih[:16], -expected)
        assert not hh[:32].any()
        assert 0 <= expected.min() < expected.max() <= math.log(99)
    assert len({tuple(bias.tolist()) for bias in forget}) == 4


def test_chrono_for_a_gru():
    """`"chrono"` changes the update gates of a GRU and no other gates."""
    layer, twin = make(nn.GRU), make(nn.GRU)
    set_update_bias_(layer, "chrono", max_lag=100)
    for ours, theirs in zip(named(layer, "bias_ih"), named(twin, "bias_ih"), strict=True):
        assert 0 <= ours[16:32].min() < ours[16:32].max() <= math.log(99)
        assert torch.equal(ours[:16], theirs[:16])
        assert torch.equal(ours[32:], theirs[32:])


@pytest.mark.parametrize("max_lag", [None, 2])
def test_chrono_needs_the_longest_lag(max_lag):
    """A missing or too small `max_lag` raises an error that names it."""
    with pytest.raises(ValueError, match=rf"bias='chrono', max_lag={max_lag}: max_lag, .* must be at least 3"):
        set_forget_bias_(make(nn.LSTM), "chrono", max_lag=max_lag)
