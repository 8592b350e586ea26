"""`gradient_flow`: the gradient of a late loss at every earlier step of a recurrent layer."""

import pytest
import torch
from torch import nn

from lightning_clip.functional import gradient_flow, growth_rate, norms_by_lag
from lightning_clip.functional.gradient_flow import random_directions, run_layer
from tests.references.recurrence import gradients_at_states

LAYERS = {
    "tanh": lambda **options: nn.RNN(6, 20, **options),
    "relu": lambda **options: nn.RNN(6, 20, nonlinearity="relu", **options),
    "lstm": lambda **options: nn.LSTM(6, 20, **options),
    "projected": lambda **options: nn.LSTM(6, 20, proj_size=7, **options),
    "gru": lambda **options: nn.GRU(6, 20, **options),
}
every_layer = pytest.mark.parametrize("kind", LAYERS)


def layer_of(kind: str, **options: object) -> nn.RNNBase:
    torch.manual_seed(0)
    return LAYERS[kind](**options)


def state_of(layer: nn.RNNBase, rows: int) -> tuple[torch.Tensor, ...]:
    sizes = [layer.proj_size or layer.hidden_size, *([layer.hidden_size] if isinstance(layer, nn.LSTM) else [])]
    return tuple(torch.randn(layer.num_layers, rows, size) for size in sizes)


def orthogonal(gain: float, inputs: int = 6, nonlinearity: str = "tanh") -> nn.RNN:
    torch.manual_seed(0)
    layer = nn.RNN(inputs, 50, nonlinearity=nonlinearity)
    nn.init.orthogonal_(layer.weight_hh_l0, gain)
    return layer


@every_layer
@pytest.mark.parametrize("layers", [1, 2])
def test_by_default_it_is_what_autograd_has_for_the_inputs(kind: str, layers: int):
    """A backward pass through the layer itself gives the same result, latest step first."""
    layer = layer_of(kind, num_layers=layers, batch_first=True)
    inputs, state = torch.randn(15, 3, 6), state_of(layer, 3)
    direction = random_directions(3, layer.proj_size or layer.hidden_size)
    given = inputs.clone().requires_grad_()
    outputs, _ = layer(given.transpose(0, 1), state if isinstance(layer, nn.LSTM) else state[0])
    (outputs[:, -1] * direction).sum().backward()
    flow = gradient_flow(layer, inputs, state, direction=direction)
    torch.testing.assert_close(flow, given.grad.flip(0), rtol=1e-4, atol=1e-7)


@every_layer
@pytest.mark.parametrize("layers", [1, 3])
def test_exact_is_the_whole_gradient_at_every_state_of_the_first_layer(kind: str, layers: int):
    """It matches a layer written step by step, where a state feeds the next step and the layer above."""
    layer = layer_of(kind, num_layers=layers)
    inputs, state = torch.randn(15, 3, 6), state_of(layer, 3)
    direction = torch.randn(3, layer.proj_size or layer.hidden_size)
    parameters = dict(layer.named_parameters())
    expected = gradients_at_states(layer.mode, parameters, layers, inputs, state, direction)
    flow = gradient_flow(layer, inputs, state, direction=direction, exact=True)
    torch.testing.assert_close(flow.double(), expected.flip(0), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        *(orthogonal(gain) for gain in (0.9, 1.0, 1.3)),
        orthogonal(1.05, nonlinearity="relu"),
        *(layer_of(kind) for kind in LAYERS),
        *(layer_of(kind, num_layers=2) for kind in ("tanh", "lstm", "gru")),
        nn.LSTM(1, 50),
        nn.GRU(64, 50),
    ],
    ids=str,
)
def test_both_ways_give_the_same_growth_rate(layer: nn.RNNBase):
    """Gradients at inputs and at states give the same rate, to 0.005 per step."""
    torch.manual_seed(1)
    inputs = torch.randn(128, 4, layer.input_size)
    direction = random_directions(4, layer.proj_size or layer.hidden_size)
    probes = max(0, 32 - layer.input_size)
    fast = growth_rate(norms_by_lag(gradient_flow(layer, inputs, direction=direction, probes=probes)))
    slow = growth_rate(norms_by_lag(gradient_flow(layer, inputs, direction=direction, exact=True)))
    assert abs(fast[0] - slow[0]) < 0.005
    assert slow[1] > 0.8


def test_the_gradient_at_the_output_tensor_says_nothing_about_time():
    """The gradient at the output is only what the loss puts there; ours reaches every step."""
    layer = layer_of("lstm")
    outputs, _ = layer(torch.randn(20, 2, 6))
    outputs.retain_grad()
    outputs[-1].sum().backward()
    assert int((outputs.grad != 0).any(2).any(1).sum()) == 1
    assert bool((gradient_flow(layer, torch.randn(20, 2, 6), exact=True) != 0).any(2).any(1).all())


@every_layer
@pytest.mark.parametrize("exact", [False, True])
def test_a_window_is_the_end_of_the_whole(kind: str, exact: bool):
    """The steps before the window still run forward for their state."""
    layer, inputs = layer_of(kind, num_layers=2), torch.randn(30, 2, 6)
    whole = gradient_flow(layer, inputs, exact=exact)
    part = gradient_flow(layer, inputs, exact=exact, max_steps=12)
    torch.testing.assert_close(part, whole[:12], rtol=1e-4, atol=1e-8)


def test_more_inputs_show_what_one_hides():
    """Zero inputs with random weights leave the states unchanged and improve the fit of the rate."""
    layer = orthogonal(1.1, inputs=1)
    inputs = torch.randn(128, 4, 1, generator=torch.Generator().manual_seed(0))
    narrow, wide = gradient_flow(layer, inputs), gradient_flow(layer, inputs, probes=31)
    torch.testing.assert_close(wide[..., :1], narrow)
    assert growth_rate(norms_by_lag(wide))[1] > growth_rate(norms_by_lag(narrow))[1] + 0.01


@every_layer
@pytest.mark.parametrize("exact", [False, True])
def test_nothing_is_left_behind(kind: str, exact: bool):
    """It leaves no `.grad`, hook, random number, mode change or dropout state behind."""
    layer = layer_of(kind, num_layers=2, dropout=0.5)
    called = []
    layer.register_forward_hook(lambda *_: called.append(1))
    inputs = torch.randn(12, 2, 6, requires_grad=True)
    weights, drawn = [p.clone() for p in layer.parameters()], torch.get_rng_state()
    first, second = (gradient_flow(layer, inputs, exact=exact) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(p.grad is None for p in (inputs, *layer.parameters()))
    assert all(torch.equal(p, before) for p, before in zip(layer.parameters(), weights, strict=True))
    assert layer.training
    assert not called


def test_it_works_where_gradients_and_precision_are_switched():
    """Without gradients, under autocast and with half-precision weights, it runs in single precision."""
    layer, inputs = layer_of("lstm"), torch.randn(12, 2, 6)
    expected = gradient_flow(layer, inputs)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(gradient_flow(layer, inputs), expected)
    half = layer.bfloat16()
    flow = gradient_flow(half, inputs.bfloat16())
    assert flow.dtype == torch.float32
    torch.testing.assert_close(flow, expected, rtol=0.1, atol=0.01)
    assert gradient_flow(half.double(), inputs).dtype == torch.float64


@every_layer
def test_a_layer_is_run_as_torch_runs_it(kind: str):
    """Outputs and last state equal those of calling the layer, without dropout."""
    layer = layer_of(kind, num_layers=2, dropout=0.5).eval()
    inputs, state = torch.randn(9, 3, 6), state_of(layer, 3)
    outputs, last = layer(inputs, state if isinstance(layer, nn.LSTM) else state[0])
    found = run_layer(layer.train(), inputs, state)
    torch.testing.assert_close(found, (outputs, *(last if isinstance(layer, nn.LSTM) else (last,))))


def test_directions_are_always_the_same():
    """The directions are fixed, with a total norm of 1."""
    assert torch.equal(random_directions(4, 9), random_directions(4, 9))
    assert float(random_directions(4, 9).norm()) == pytest.approx(1.0)
