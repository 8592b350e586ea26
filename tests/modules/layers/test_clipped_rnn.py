"""`ClippedRNN`: its gradients against a handwritten backward pass."""

import math

import pytest
import torch
from torch import Tensor, nn

from lightning_clip.modules import ClippedRNN


def by_hand(layer: ClippedRNN, x: Tensor, arriving: Tensor, bound: float) -> tuple[dict[str, Tensor], float]:
    """Gradients of a layer's parameters in double precision, and the fraction of clamped gradients.

    `x` and `arriving` are `(steps, batch, size)`; the gradient at each pre-activation is clamped before it flows on.
    """
    weights = {name: value.detach().double() for name, value in layer.named_parameters()}
    w_ih, w_hh = weights["weight_ih_l0"], weights["weight_hh_l0"]
    x, arriving = x.double(), arriving.double()
    states, pre = [torch.zeros(x.shape[1], layer.hidden_size).double()], []
    for x_t in x:
        pre.append(x_t @ w_ih.T + states[-1] @ w_hh.T + weights["bias_ih_l0"] + weights["bias_hh_l0"])
        states.append(pre[-1].tanh() if layer.nonlinearity == "tanh" else pre[-1].clamp(min=0))
    grads = {name: torch.zeros_like(value) for name, value in weights.items()}
    later, beyond = torch.zeros_like(states[0]), 0
    for t in reversed(range(len(x))):
        slope = 1 - states[t + 1] ** 2 if layer.nonlinearity == "tanh" else (pre[t] > 0).double()
        at_z = (arriving[t] + later) * slope
        beyond += int((at_z.abs() > bound).sum())
        at_z = at_z.clamp(-bound, bound)
        grads["weight_ih_l0"] += at_z.T @ x[t]
        grads["weight_hh_l0"] += at_z.T @ states[t]
        grads["bias_ih_l0"] += at_z.sum(0)
        grads["bias_hh_l0"] += at_z.sum(0)
        later = at_z @ w_hh
    return grads, beyond / (len(x) * x.shape[1] * layer.hidden_size)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("bound", [0.05, 0.5, 1e9])
def test_derivatives_are_clamped_at_every_step(nonlinearity, bound):
    """Gradients and the clamped fraction equal those of the recursion, from no to many clamped elements."""
    torch.manual_seed(0)
    layer = ClippedRNN(3, 6, nonlinearity=nonlinearity, grad_clip_gates=bound)
    layer.weight_hh_l0.data *= 2
    x, arriving = torch.randn(12, 4, 3), 0.3 * torch.randn(12, 4, 6)
    layer(x)[0].backward(arriving)
    grads, share = by_hand(layer, x, arriving, bound)
    for name, param in layer.named_parameters():
        torch.testing.assert_close(param.grad.double(), grads[name], rtol=1e-4, atol=1e-5)
    assert float(layer.clamps["gates"].clamped_fraction) == pytest.approx(share)
    assert (share > 0) == (bound < 1)


def test_a_derivative_cannot_explode_on_its_way():
    """The gradient of `nn.RNN` grows by orders of magnitude; the clamped one stays within its bound."""
    torch.manual_seed(0)
    plain = nn.RNN(3, 16, nonlinearity="relu")
    with torch.no_grad():
        plain.weight_hh_l0.copy_(1.6 * torch.eye(16))
        plain.bias_ih_l0.fill_(0.1)
    clipped = ClippedRNN(3, 16, nonlinearity="relu", grad_clip_gates=1.0)
    clipped.load_state_dict(plain.state_dict())
    x = torch.rand(60, 2, 3)
    for layer in (plain, clipped):
        layer(x)[0][-1].sum().backward()
    steps, rows = 60, 2
    assert plain.bias_ih_l0.grad.abs().max() > 1e9
    assert clipped.bias_ih_l0.grad.abs().max() <= steps * rows


@pytest.mark.parametrize("scale", [256.0, torch.tensor(256.0)], ids=["number", "tensor"])
def test_a_scaled_loss_gives_scaled_gradients(scale):
    """With `loss_scale` set, as under mixed precision, a scaled loss scales the gradients."""
    torch.manual_seed(0)
    layer, x = ClippedRNN(3, 6, grad_clip_gates=0.05, grad_clip_output=0.1), torch.randn(8, 4, 3)
    grads = []
    for factor in (1.0, scale):
        layer.zero_grad()
        for clamp in layer.clamps.values():
            clamp.loss_scale = factor
        (layer(x)[0].square().sum() * factor).backward()
        grads.append([p.grad / factor for p in layer.parameters()])
    for plain, scaled in zip(*grads, strict=True):
        torch.testing.assert_close(scaled, plain)
    assert 0.1 < layer.clamps["gates"].clamped_fraction < 1
    assert not math.isnan(layer.clamps["output"].clamped_fraction)
