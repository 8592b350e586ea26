"""Recurrent layers written step by step from their equations, and the gradient at every state."""

import torch
from torch import Tensor


def _gates(x: Tensor, h: Tensor, p: dict[str, Tensor], l: int) -> tuple[Tensor, Tensor]:  # noqa: E741
    inner = x @ p[f"weight_ih_l{l}"].T + p[f"bias_ih_l{l}"]
    outer = h @ p[f"weight_hh_l{l}"].T + p[f"bias_hh_l{l}"]
    return inner, outer


def rnn_step(x, state, p, l):  # noqa: E741
    inner, outer = _gates(x, state[0], p, l)
    return (torch.tanh(inner + outer),)


def relu_step(x, state, p, l):  # noqa: E741
    inner, outer = _gates(x, state[0], p, l)
    return (torch.relu(inner + outer),)


def lstm_step(x, state, p, l):  # noqa: E741
    inner, outer = _gates(x, state[0], p, l)
    i, f, g, o = (inner + outer).chunk(4, dim=1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return (h @ p[f"weight_hr_l{l}"].T if f"weight_hr_l{l}" in p else h), c


def gru_step(x, state, p, l):  # noqa: E741
    inner, outer = _gates(x, state[0], p, l)
    (ri, zi, ni), (rh, zh, nh) = inner.chunk(3, dim=1), outer.chunk(3, dim=1)
    r, z = torch.sigmoid(ri + rh), torch.sigmoid(zi + zh)
    n = torch.tanh(ni + r * nh)
    return ((1 - z) * n + z * state[0],)


STEPS = {"RNN_TANH": rnn_step, "RNN_RELU": relu_step, "LSTM": lstm_step, "GRU": gru_step}


def gradients_at_states(mode, parameters, layers, inputs, state, direction):
    """`∂L/∂h_t` of the first layer for each t, `(steps, batch, size)`, for L = (direction * last top state).sum()."""
    p = {name: value.detach().double() for name, value in parameters.items()}
    states = [tuple(part[l].detach().double() for part in state) for l in range(layers)]  # noqa: E741
    first = []
    for x in inputs.detach().double().requires_grad_():
        for l in range(layers):  # noqa: E741
            states[l] = STEPS[mode](x, states[l], p, l)
            x = states[l][0]
            if l == 0:
                x.retain_grad()
                first.append(x)
    (direction.double() * x).sum().backward()
    return torch.stack([h.grad for h in first])
