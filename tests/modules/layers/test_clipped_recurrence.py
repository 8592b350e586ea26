"""`ClippedRecurrence`: when it runs the fused layer, and how it replaces it."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from lightning_clip.modules import ClippedLSTM, ClippedRNN

each_layer = pytest.mark.parametrize(("clipped", "plain"), [(ClippedRNN, nn.RNN), (ClippedLSTM, nn.LSTM)])


def never(*args):
    raise AssertionError("unrolled")


@each_layer
def test_without_a_bound_at_the_gates_the_fused_layer_runs(clipped, plain, monkeypatch):
    """Outputs equal those of the fused layer bit for bit, also with a clamp at the output."""
    monkeypatch.setattr(clipped, "unroll", never)
    ours, fused, x = clipped(4, 7, grad_clip_output=1.0), plain(4, 7), torch.randn(6, 5, 4)
    ours.load_state_dict(fused.state_dict())
    assert torch.equal(ours(x)[0], fused(x)[0])


@each_layer
def test_without_gradients_the_fused_layer_runs(clipped, plain, monkeypatch):
    """Without gradients there is nothing to clamp, and the fused layer runs."""
    monkeypatch.setattr(clipped, "unroll", never)
    ours = clipped(4, 7, grad_clip_gates=1.0)
    with torch.no_grad():
        ours(torch.randn(6, 5, 4))
    with pytest.raises(AssertionError, match="unrolled"):
        ours(torch.randn(6, 5, 4))


@each_layer
@pytest.mark.parametrize("packed", [False, True], ids=["dense", "packed"])
@pytest.mark.parametrize("gates", [None, 1e9], ids=["fused", "unrolled"])
def test_the_derivative_at_the_output_is_clamped(clipped, plain, gates, packed):
    """Arriving gradients of 3, clamped to 2, give the parameter gradients of arriving gradients of 2."""
    ours, fused = clipped(4, 7, grad_clip_output=2.0, grad_clip_gates=gates), plain(4, 7)
    ours.load_state_dict(fused.state_dict())
    x = torch.randn(6, 5, 4)
    inputs = pack_sequence([x[:n, row] for row, n in enumerate((6, 6, 4, 2, 1))]) if packed else x
    for layer, factor in ((ours, 3.0), (fused, 2.0)):
        output, _ = layer(inputs)
        (factor * (output.data if packed else output)).sum().backward()
    for mine, theirs in zip(ours.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
    assert ours.clamps["output"].clamped_fraction == 1.0
    assert ours.clamps["gates"].clamped_fraction == 0.0


@each_layer
def test_the_state_dict_is_that_of_torch(clipped, plain):
    """The state dict has torch's names in torch's order, and the layer is an instance of torch's."""
    ours = clipped(4, 7, 2, bidirectional=True, grad_clip_gates=1.0)
    assert list(ours.state_dict()) == list(plain(4, 7, 2, bidirectional=True).state_dict())
    assert isinstance(ours, plain)


@each_layer
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_a_copy_clamps_on_its_own(clipped, plain, duplicate):
    """A copy has the same weights and bounds, and a separate count."""
    ours = clipped(4, 7, grad_clip_gates=1e-6)
    twin, x = duplicate(ours), torch.randn(6, 5, 4)
    assert torch.equal(twin(x)[0], ours(x)[0])
    twin(x)[0].sum().backward()
    assert twin.clamps["gates"].clamped_fraction > 0.5
    assert ours.clamps["gates"].clamped_fraction == 0.0


@each_layer
def test_it_shows_its_bounds(clipped, plain):
    """The repr shows the bounds after torch's arguments."""
    assert repr(clipped(4, 7, grad_clip_gates=10.0)) == f"{clipped.__name__}(4, 7, grad_clip_gates=10.0)"
    assert repr(clipped(4, 7, batch_first=True)) == f"{clipped.__name__}(4, 7, batch_first=True)"


@each_layer
@pytest.mark.parametrize("name", ["grad_clip_gates", "grad_clip_output"])
def test_bad_bounds(clipped, plain, name):
    """Bounds that are not positive raise an error with the call and the rule."""
    with pytest.raises(ValueError, match=rf"{clipped.__name__}\({name}=0\): {name} must be a positive number"):
        clipped(4, 7, **{name: 0})
