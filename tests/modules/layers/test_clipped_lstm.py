"""`ClippedLSTM`: its gradients against a handwritten backward pass."""

import pytest
import torch
from torch import Tensor, nn

from lightning_clip.modules import ClippedLSTM


def by_hand(layer: nn.LSTM, x: Tensor, arriving: Tensor, bound: float) -> tuple[dict[str, Tensor], float, list[float]]:
    """Gradients of a layer's parameters in double precision, from a backward pass with clamped gate gradients.

    Also returns the fraction of clamped gate gradients, and the largest gate gradient of each step after clamping.
    """
    weights = {name: value.detach().double() for name, value in layer.named_parameters()}
    w_ih, w_hh = weights["weight_ih_l0"], weights["weight_hh_l0"]
    x, arriving = x.double(), arriving.double()
    zero = torch.zeros(x.shape[1], layer.hidden_size).double()
    hs, cs, gates = [zero], [zero], []
    for x_t in x:
        z = x_t @ w_ih.T + hs[-1] @ w_hh.T + weights["bias_ih_l0"] + weights["bias_hh_l0"]
        i, f, g, o = z.chunk(4, dim=1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        gates.append((i, f, g, o))
        cs.append(f * cs[-1] + i * g)
        hs.append(o * cs[-1].tanh())
    grads = {name: torch.zeros_like(value) for name, value in weights.items()}
    dh, dc, beyond, largest = zero, zero, 0, []
    for t in reversed(range(len(x))):
        i, f, g, o = gates[t]
        dh = dh + arriving[t]
        dc = dc + dh * o * (1 - cs[t + 1].tanh() ** 2)
        at_z = torch.cat(
            [
                dc * g * i * (1 - i),
                dc * cs[t] * f * (1 - f),
                dc * i * (1 - g**2),
                dh * cs[t + 1].tanh() * o * (1 - o),
            ],
            dim=1,
        )
        beyond += int((at_z.abs() > bound).sum())
        at_z = at_z.clamp(-bound, bound)
        largest.append(float(at_z.abs().max()))
        grads["weight_ih_l0"] += at_z.T @ x[t]
        grads["weight_hh_l0"] += at_z.T @ hs[t]
        grads["bias_ih_l0"] += at_z.sum(0)
        grads["bias_hh_l0"] += at_z.sum(0)
        dh, dc = at_z @ w_hh, dc * f
    return grads, beyond / (len(x) * x.shape[1] * 4 * layer.hidden_size), largest


@pytest.mark.parametrize("bound", [0.01, 0.1, 1e9])
def test_derivatives_are_clamped_at_every_step(bound):
    """Gradients and the clamped fraction equal those of the recursion, from no to many clamped elements."""
    torch.manual_seed(0)
    layer = ClippedLSTM(3, 6, grad_clip_gates=bound)
    layer.weight_hh_l0.data *= 2
    x, arriving = torch.randn(12, 4, 3), torch.randn(12, 4, 6)
    layer(x)[0].backward(arriving)
    grads, share, _ = by_hand(layer, x, arriving, bound)
    for name, param in layer.named_parameters():
        torch.testing.assert_close(param.grad.double(), grads[name], rtol=1e-4, atol=1e-5)
    assert float(layer.clamps["gates"].clamped_fraction) == pytest.approx(share)
    assert (share > 0) == (bound < 1)


def test_a_derivative_cannot_explode_on_its_way():
    """With recurrent weights of std 4/sqrt(H), gradients grow a hundredfold in 100 steps; clamped, they do not."""
    torch.manual_seed(0)
    plain = nn.LSTM(8, 64)
    nn.init.normal_(plain.weight_hh_l0, std=4 / 8)
    clipped = ClippedLSTM(8, 64, grad_clip_gates=1.0)
    clipped.load_state_dict(plain.state_dict())
    x, arriving = torch.randn(100, 4, 8), torch.zeros(100, 4, 64)
    arriving[-1] = 10.0
    for layer in (plain, clipped):
        layer(x)[0].backward(arriving)
    _, _, largest = by_hand(plain, x, arriving, float("inf"))
    assert max(largest) > 100 * largest[0]
    assert clipped.weight_hh_l0.grad.norm() < 0.05 * plain.weight_hh_l0.grad.norm()
    assert clipped.bias_ih_l0.grad.abs().max() <= 100 * 4


def test_a_scaled_loss_gives_scaled_gradients():
    """With `loss_scale` set, as under mixed precision, a scaled loss scales the gradients."""
    torch.manual_seed(0)
    layer, x = ClippedLSTM(3, 6, grad_clip_gates=0.01), torch.randn(8, 4, 3)
    grads = []
    for factor in (1.0, 4096.0):
        layer.zero_grad()
        layer.clamps["gates"].loss_scale = factor
        (layer(x)[0].square().sum() * factor).backward()
        grads.append([p.grad / factor for p in layer.parameters()])
    for plain, scaled in zip(*grads, strict=True):
        torch.testing.assert_close(scaled, plain)
    assert layer.clamps["gates"].clamped_fraction > 0.1
