"""`VanishingGradientRegularizer`: Pascanu's Ω, a penalty that keeps gradients from vanishing through time."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lightning_clip._checks import check_choice, check_non_negative, check_positive, check_rule

Schedule = Literal["constant", "1/step", "1/epoch"]

_TIMES: dict[str, Callable[[int, int], int]] = {
    "constant": lambda step, epoch: 1,
    "1/step": lambda step, epoch: step + 1,
    "1/epoch": lambda step, epoch: epoch + 1,
}


class VanishingGradientRegularizer:
    """Adds a penalty's gradient to that of `weight_hh`. It penalizes gradients whose norm changes from step to step.

    With `a_t = ∂L/∂h_t` and the immediate derivative `∂h_t/∂h_{t-1}`, the ratio
    `r_t = ‖a_t ∂h_t/∂h_{t-1}‖² / ‖a_t‖²` tells, for each sequence, how much of the squared norm survives one step back.
    The penalty is the mean of `(r_t - 1)²` over all steps and sequences with `‖a_t‖² ≥ bound`. It treats `a_t` and
    `h_t` as constants, so only the `weight_hh` inside `∂h_t/∂h_{t-1}` gets a gradient, which is multiplied by `weight`.

    Call it on the output of a layer before any other operation, and continue with the tensor that it returns. The
    backward pass runs the recursion `a_{t-1} = g_{t-1} + W_hhᵀ (f'(z_t) a_t)`, where g is the gradient that arrives at
    the output; this works for fused layers too. From then on, the penalty's gradient is part of the gradient: it is
    accumulated, averaged over processes, and clipped.

    It does not keep gradients from exploding: use clipping as well.

    Args:
        weight: Factor on the penalty's gradient.
        schedule: `"constant"`, or `"1/step"` or `"1/epoch"` to divide `weight` by the number of the optimizer step or
            epoch, counted from 1. On natural data, where not all of the past matters, a constant weight hurts.
        bound: Gradients with a squared norm below this count as vanished; their steps are excluded.

    Attributes:
        step: Number of completed optimizer steps, for the schedule.
        epoch: Number of completed epochs, for the schedule.
        loss_scale: Factor by which the loss is scaled before the backward pass, a number or a tensor `()`.
        omega: The penalty in the last backward pass, `()`.
        kept_fraction: Fraction of steps in the last backward pass whose gradient had not vanished, `()`.

    Raises:
        ArgumentError: An argument is out of range.

    Example:
        >>> regularizer, rnn = VanishingGradientRegularizer(), nn.RNN(3, 8)
        >>> output, _ = rnn(torch.ones(10, 2, 3))
        >>> regularizer(output, rnn)[-1].sum().backward()
        >>> bool(regularizer.omega > 0), float(regularizer.kept_fraction)
        (True, 1.0)

    References:
        Razvan Pascanu, Tomas Mikolov and Yoshua Bengio, "On the difficulty of training recurrent neural networks",
        2013, https://arxiv.org/abs/1211.5063. Squared norms as in its equation 10, for each sequence; a bound of
        1e-20 as in its released code, whose default weight is 2; its figure 7 uses 4.
    """

    def __init__(self, weight: float = 4.0, *, schedule: Schedule = "constant", bound: float = 1e-20) -> None:
        name = type(self).__name__
        check_non_negative(name, weight=weight)
        check_positive(name, or_none=True, bound=bound)
        check_choice(name, _TIMES, schedule=schedule)
        self.weight = weight
        self.schedule = schedule
        self.bound = bound
        self.step = 0
        self.epoch = 0
        self.loss_scale: float | Tensor = 1.0
        self.omega = torch.zeros(())
        self.kept_fraction = torch.zeros(())

    @property
    def current_weight(self) -> float:
        """The weight at the current step and epoch."""
        return self.weight / _TIMES[self.schedule](self.step, self.epoch)

    def __call__(self, output: Tensor, layer: nn.RNN) -> Tensor:
        """Add the penalty's gradient in the backward pass.

        Args:
            output: The output of `layer`, `(steps, batch, hidden_size)` or `(batch, steps, hidden_size)`.
            layer: An `nn.RNN` with one layer and one direction.

        Returns:
            The same values. Compute the loss from them, not from the last state that the layer returned.

        Raises:
            ArgumentError: The layer is not a plain `nn.RNN` with one layer and one direction.
        """
        self.check(layer)
        if not output.requires_grad:
            return output
        regularized: Tensor = _AddOmega.apply(output, layer.weight_hh_l0, layer, self)  # type: ignore[no-untyped-call]
        return regularized

    def check(self, layer: nn.RNNBase) -> None:
        """Raise unless the layer is an `nn.RNN` with one layer and one direction; see `__call__`."""
        fits = type(layer) is nn.RNN and layer.num_layers == 1 and not layer.bidirectional
        check_rule(
            f"VanishingGradientRegularizer on {layer!r}",
            "it requires a plain nn.RNN; use one with num_layers=1 and bidirectional=False",
            holds=fits,
        )


def omega_and_gradient(
    direct: Tensor, slopes: Tensor, w_hh: Tensor, *, bound: float = 1e-20
) -> tuple[Tensor, Tensor, Tensor]:
    """The penalty of `VanishingGradientRegularizer` and its gradient with respect to the recurrent weights.

    Args:
        direct: Gradient of the loss that arrives at each output from above, `(steps, batch, hidden_size)`.
        slopes: Derivative of the nonlinearity at each step, `(steps, batch, hidden_size)`.
        w_hh: The recurrent weights, `(hidden_size, hidden_size)`.
        bound: Gradients with a squared norm below this count as vanished.

    Returns:
        The penalty `()`, its gradient `(hidden_size, hidden_size)`, and the fraction of steps not vanished, `()`.
    """
    total = direct.clone()
    inner = torch.empty_like(direct)
    for step in range(len(direct) - 1, -1, -1):
        torch.mul(total[step], slopes[step], out=inner[step])
        if step:
            torch.addmm(direct[step - 1], inner[step], w_hh, out=total[step - 1])
    passed = inner @ w_hh
    # Squares of gradients above 1e19 or below 1e-19 are out of the range of float32.
    norm = torch.linalg.vector_norm(total, dim=-1, keepdim=True, dtype=torch.float64)
    kept = norm.square() >= bound
    norm = torch.where(kept, norm, 1.0)
    ratio = (torch.linalg.vector_norm(passed, dim=-1, keepdim=True, dtype=torch.float64) / norm).square()
    excess = torch.where(kept, ratio - 1.0, 0.0)
    count = kept.sum().clamp(min=1)
    inner = ((4.0 * excess / count) * (inner / norm)).to(w_hh.dtype)
    passed = (passed / norm).to(w_hh.dtype)
    gradient = inner.flatten(0, 1).t() @ passed.flatten(0, 1)
    return excess.square().sum() / count, gradient, kept.double().mean()


class _AddOmega(torch.autograd.Function):
    """Identity on a layer's output. The backward pass adds to the gradient of its recurrent weights."""

    @staticmethod
    def forward(
        ctx: Any, output: Tensor, w_hh: Tensor, layer: nn.RNN, regularizer: VanishingGradientRegularizer
    ) -> Any:
        ctx.save_for_backward(output, w_hh)
        ctx.layer, ctx.regularizer = layer, regularizer
        return output.view_as(output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, direct: Tensor) -> Any:
        output, w_hh = ctx.saved_tensors
        regularizer = ctx.regularizer
        dtype = torch.promote_types(w_hh.dtype, torch.float32)  # a scaled loss overflows half precision
        states, above = ((x.transpose(0, 1) if ctx.layer.batch_first else x).to(dtype) for x in (output, direct))
        slopes = _SLOPES[ctx.layer.nonlinearity](states)
        omega, gradient, kept = omega_and_gradient(
            (above / regularizer.loss_scale).contiguous(), slopes, w_hh.to(dtype), bound=regularizer.bound
        )
        regularizer.omega, regularizer.kept_fraction = omega, kept
        scaled = gradient * (regularizer.current_weight * regularizer.loss_scale)
        return direct, scaled.to(w_hh.dtype), None, None


_SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda h: 1 - h.square(),
    "relu": lambda h: (h > 0).to(h.dtype),
}
