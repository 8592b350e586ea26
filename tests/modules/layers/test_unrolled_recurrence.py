"""`UnrolledRecurrence`: running step by step gives the results of the fused layers."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from lightning_clip.modules import ClippedLSTM, ClippedRNN

LAYERS = {
    "tanh": (ClippedRNN, nn.RNN, {}),
    "relu": (ClippedRNN, nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (ClippedLSTM, nn.LSTM, {}),
    "projected": (ClippedLSTM, nn.LSTM, {"proj_size": 3}),
}
OPTIONS = {
    "plain": {},
    "batch-first": {"batch_first": True},
    "no-bias": {"bias": False},
    "deep": {"num_layers": 3},
    "both-ways": {"bidirectional": True},
    "all": {"num_layers": 2, "bidirectional": True, "batch_first": True, "dropout": 0.5},
}
INPUTS = {
    "batch": lambda: torch.randn(6, 5, 4),
    "unbatched": lambda: torch.randn(6, 4),
    "one-step": lambda: torch.randn(1, 1, 4),
    "packed": lambda: pack_sequence([torch.randn(n, 4) for n in (3, 6, 1, 6)], enforce_sorted=False),
}
each_layer = pytest.mark.parametrize("layer", LAYERS)

# torch warns about its own fused layer
no_projection_in_onednn = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


def pair(layer: str, **options) -> tuple[nn.RNNBase, nn.RNNBase]:
    """A fused layer and ours with the same weights, unrolled because of a bound that no gradient reaches."""
    ours, fused, own = LAYERS[layer]
    torch.manual_seed(0)
    reference = fused(4, 7, **own, **options)
    unrolled = ours(4, 7, **own, **options, grad_clip_gates=1e30)
    unrolled.load_state_dict(reference.state_dict())
    return reference, unrolled


def parts(output, hidden) -> list[Tensor]:
    data = output.data if isinstance(output, PackedSequence) else output
    return [data, *(hidden if isinstance(hidden, tuple) else (hidden,))]


def assert_same(layers, inputs, *states) -> None:
    """Outputs, states and the gradients of all parameters agree to 2e-6."""
    results = []
    for layer in layers:
        torch.manual_seed(1)  # for dropout
        outcome = parts(*layer(inputs, *states))
        sum((number + 1) * part.square().sum() for number, part in enumerate(outcome)).backward()
        results.append([*(part.detach() for part in outcome), *(p.grad for p in layer.parameters())])
    for fused, unrolled in zip(*results, strict=True):
        assert fused.shape == unrolled.shape
        assert (fused - unrolled).abs().max() <= 2e-6 * max(1.0, float(fused.abs().max()))


@no_projection_in_onednn
@each_layer
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
def test_results_and_gradients_are_those_of_the_fused_layer(layer, options, inputs):
    """Outputs and gradients match for every option and input format, including dropout."""
    torch.manual_seed(2)
    assert_same(pair(layer, **options), inputs())


@no_projection_in_onednn
@each_layer
@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
def test_it_goes_on_from_a_state(layer, inputs):
    """The initial state belongs to the rows in the user's order."""
    torch.manual_seed(3)
    fused, unrolled = pair(layer, num_layers=2, bidirectional=True)
    data = inputs()
    _, hidden = fused(data)
    start = tuple(torch.randn_like(h) for h in hidden) if isinstance(hidden, tuple) else torch.randn_like(hidden)
    assert_same((fused, unrolled), data, start)


@each_layer
def test_an_input_of_four_dimensions_is_refused(layer):
    """An input with four dimensions raises an error with their number."""
    with pytest.raises(ValueError, match=r"Clipped\w+: the input must have 2 or 3 dimensions, not 4"):
        pair(layer)[1](torch.zeros(1, 2, 3, 4))


@each_layer
@pytest.mark.parametrize(
    ("inputs", "batch", "message"),
    [(torch.zeros(2, 3, 5), 3, "Expected 4, got 5"), (torch.zeros(2, 3, 4), 9, "Expected hidden.* got .1, 9")],
    ids=["input", "state"],
)
def test_sizes_are_checked_as_by_torch(layer, inputs, batch, message):
    """Wrong sizes raise the same errors as the fused layer."""
    fused, unrolled = pair(layer)
    _, hidden = fused(torch.zeros(1, batch, 4))
    for one in (fused, unrolled):
        with pytest.raises(RuntimeError, match=message):
            one(inputs, hidden)
