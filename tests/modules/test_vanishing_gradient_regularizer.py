"""`VanishingGradientRegularizer`: against autograd through an unrolled network."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from lightning_clip.modules import ClippedRNN, VanishingGradientRegularizer
from lightning_clip.modules.vanishing_gradient_regularizer import omega_and_gradient


def by_autograd(rnn: nn.RNN, x: Tensor, loss_of, bound: float = 1e-20) -> tuple[Tensor, Tensor, float]:
    """Ω, its gradient with respect to `weight_hh` and the fraction of steps kept, in double precision.

    Every state is a separate node, so autograd gives the total gradient at each. The step back is then computed again
    with gradients and states as constants, and differentiated by autograd.
    """
    rnn = copy.deepcopy(rnn).double()
    x = (x.transpose(0, 1) if rnn.batch_first else x).double()
    f = torch.tanh if rnn.nonlinearity == "tanh" else torch.relu
    state, states, pres = torch.zeros(x.shape[1], rnn.hidden_size).double(), [], []
    for x_t in x:
        pres.append(x_t @ rnn.weight_ih_l0.T + state @ rnn.weight_hh_l0.T + rnn.bias_ih_l0 + rnn.bias_hh_l0)
        state = f(pres[-1])
        states.append(state)
    totals = torch.autograd.grad(loss_of(torch.stack(states)), states)
    w_hh = rnn.weight_hh_l0.detach().requires_grad_()
    penalty, kept = torch.zeros(()).double(), 0
    for pre, total in zip(pres, totals, strict=True):
        for row in range(x.shape[1]):
            if total[row].square().sum() < bound:
                continue
            kept += 1
            z = pre[row].detach().requires_grad_()
            slope = torch.autograd.grad(f(z).sum(), z)[0]
            back = (total[row] * slope) @ w_hh
            penalty = penalty + (back.square().sum() / total[row].square().sum() - 1).square()
    penalty = penalty / kept
    return penalty.detach(), torch.autograd.grad(penalty, w_hh)[0], kept / (len(x) * x.shape[1])


def at_the_last_step(states: Tensor) -> Tensor:
    return states[-1].sin().sum()


def at_every_step(states: Tensor) -> Tensor:
    return states.square().mean()


def network(nonlinearity: str = "tanh", gain: float = 1.0, **options) -> nn.RNN:
    torch.manual_seed(0)
    rnn = nn.RNN(3, 10, nonlinearity=nonlinearity, **options)
    nn.init.orthogonal_(rnn.weight_hh_l0, gain)
    return rnn


def gradients(rnn: nn.RNN, x: Tensor, loss_of, regularizer=None, scale: float = 1.0) -> dict[str, Tensor]:
    rnn.zero_grad()
    output, _ = rnn(x)
    output = output if regularizer is None else regularizer(output, rnn)
    (scale * loss_of(output.transpose(0, 1) if rnn.batch_first else output)).backward()
    return {name: param.grad.clone() for name, param in rnn.named_parameters()}


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("loss_of", [at_the_last_step, at_every_step])
@pytest.mark.parametrize("gain", [0.7, 1.3])
def test_the_gradient_is_that_of_omega(nonlinearity, batch_first, loss_of, gain):
    """`weight` times the gradient of Ω is added to that of `weight_hh` only, and Ω is available."""
    rnn = network(nonlinearity, gain, batch_first=batch_first)
    x = torch.randn(4, 12, 3) if batch_first else torch.randn(12, 4, 3)
    regularizer = VanishingGradientRegularizer(3.0)
    plain, regularized = gradients(rnn, x, loss_of), gradients(rnn, x, loss_of, regularizer)
    omega, gradient, kept = by_autograd(rnn, x, loss_of)
    added = regularized.pop("weight_hh_l0") - plain.pop("weight_hh_l0")
    torch.testing.assert_close(added, 3.0 * gradient.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(regularizer.omega, omega, rtol=1e-4, atol=1e-6)
    assert float(regularizer.kept_fraction) == pytest.approx(kept)
    assert all(torch.equal(regularized[name], grad) for name, grad in plain.items())


def test_vanished_derivatives_do_not_count():
    """Steps with a squared gradient norm below the bound, here the early ones, are excluded from sum and count."""
    rnn, x, bound = network(gain=0.5), torch.randn(30, 4, 3), 1e-6
    regularizer = VanishingGradientRegularizer(1.0, bound=bound)
    plain, regularized = gradients(rnn, x, at_the_last_step), gradients(rnn, x, at_the_last_step, regularizer)
    omega, gradient, kept = by_autograd(rnn, x, at_the_last_step, bound)
    assert 0.1 < kept < 0.9
    assert float(regularizer.kept_fraction) == pytest.approx(kept)
    torch.testing.assert_close(regularizer.omega, omega, rtol=1e-4, atol=1e-6)
    added = regularized["weight_hh_l0"] - plain["weight_hh_l0"]
    torch.testing.assert_close(added, gradient.float(), rtol=1e-4, atol=1e-5)


def test_the_fused_layer_runs_and_its_output_is_untouched():
    """The output is unchanged, bit for bit; without gradients it is the same tensor."""
    rnn, x = network(), torch.randn(12, 4, 3)
    output, _ = rnn(x)
    regularizer = VanishingGradientRegularizer()
    assert torch.equal(regularizer(output, rnn), output)
    with torch.no_grad():
        output, _ = rnn(x)
        assert regularizer(output, rnn) is output


@pytest.mark.parametrize("gain", [0.7, 1.6])
def test_following_it_makes_derivatives_keep_their_length(gain):
    """Gradient descent on Ω lowers it, from vanishing and from exploding gradients."""
    rnn, x, regularizer = network("relu", gain), torch.rand(12, 4, 3), VanishingGradientRegularizer(1.0)
    omegas = []
    for _ in range(30):
        plain = gradients(rnn, x, at_the_last_step)["weight_hh_l0"]
        rnn.weight_hh_l0.data -= 0.05 * (
            gradients(rnn, x, at_the_last_step, regularizer)["weight_hh_l0"] - plain
        ).clamp(-1, 1)
        omegas.append(float(regularizer.omega))
    assert omegas[-1] < 0.5 * omegas[0]


def test_a_scaled_loss_gives_a_scaled_gradient():
    """With `loss_scale` set, a scaled loss scales the gradient, and the same steps count as vanished."""
    rnn, x = network(gain=0.5), torch.randn(30, 4, 3)
    regularizer = VanishingGradientRegularizer(2.0, bound=1e-6)
    plain, kept = gradients(rnn, x, at_the_last_step, regularizer), regularizer.kept_fraction
    regularizer.loss_scale = torch.tensor(65536.0)
    scaled = gradients(rnn, x, at_the_last_step, regularizer, scale=65536.0)
    for name, grad in plain.items():
        torch.testing.assert_close(scaled[name] / 65536.0, grad)
    assert regularizer.kept_fraction == kept


@pytest.mark.parametrize("size", [1e-18, 1e25])
def test_squares_out_of_the_range_of_float32(size):
    """Gradients whose squares overflow or underflow float32 give the same penalty as others."""
    direct, slopes, w_hh = torch.randn(8, 4, 10), torch.rand(8, 4, 10), torch.randn(10, 10)
    expected = omega_and_gradient(direct, slopes, w_hh)
    for ours, theirs in zip(omega_and_gradient(direct * size, slopes, w_hh, bound=1e-60), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_nothing_is_added_where_everything_has_vanished():
    """If all gradients have vanished, the penalty and its gradient are zero, not NaN."""
    omega, gradient, kept = omega_and_gradient(torch.zeros(8, 4, 10), torch.rand(8, 4, 10), torch.randn(10, 10))
    assert (omega, kept) == (0, 0)
    assert not gradient.any()


@pytest.mark.parametrize(
    ("schedule", "factor"), [("constant", 1.0), ("1/step", 1 / 8), ("1/epoch", 1 / 3)], ids=lambda value: str(value)
)
def test_the_schedule_counts_from_one(schedule, factor):
    """The schedule divides by 8 in the eighth step and by 3 in the third epoch."""
    rnn, x = network(), torch.randn(12, 4, 3)
    regularizer = VanishingGradientRegularizer(4.0, schedule=schedule)
    regularizer.step, regularizer.epoch = 7, 2
    plain = gradients(rnn, x, at_every_step)["weight_hh_l0"]
    added = gradients(rnn, x, at_every_step, regularizer)["weight_hh_l0"] - plain
    _, gradient, _ = by_autograd(rnn, x, at_every_step)
    torch.testing.assert_close(added, 4.0 * factor * gradient.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        nn.RNN(3, 10, num_layers=2),
        nn.RNN(3, 10, bidirectional=True),
        nn.LSTM(3, 10),
        ClippedRNN(3, 10, grad_clip_gates=1.0),
    ],
)
def test_other_layers(layer):
    """Other layers raise an error with the layer and what to use instead."""
    output, _ = layer(torch.zeros(5, 2, 3))
    with pytest.raises(ValueError, match=rf"on {type(layer).__name__}\(3, 10.*use one with num_layers=1"):
        VanishingGradientRegularizer()(output, layer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": -1.0}, r"VanishingGradientRegularizer\(weight=-1\.0\): weight must be a number of at least 0"),
        ({"bound": 0.0}, r"bound=0\.0\): bound must be a positive number"),
        ({"schedule": "1/t"}, r"schedule='1/t'\): schedule must be one of 'constant', '1/step', '1/epoch'"),
    ],
)
def test_bad_arguments(arguments, message):
    """Bad arguments raise an error with the call and the rule."""
    with pytest.raises(ValueError, match=message):
        VanishingGradientRegularizer(**arguments)


def test_it_can_be_sent_to_another_process():
    """It pickles with its arguments and latest values."""
    rnn, x, regularizer = network(), torch.randn(12, 4, 3), VanishingGradientRegularizer(2.0, schedule="1/epoch")
    gradients(rnn, x, at_every_step, regularizer)
    twin = pickle.loads(pickle.dumps(regularizer))
    assert (twin.weight, twin.schedule, twin.bound) == (2.0, "1/epoch", 1e-20)
    assert twin.omega == regularizer.omega > 0
