"""Operations on recurrent states: check, detach, select rows, reset rows, scale gradients.

A state is a tensor, or tensors nested in tuples, lists and dictionaries.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_clip._errors import ArgumentTypeError

Hiddens = Any
"""The state of a recurrent network; `None` before its first step."""

Cell = Callable[[Tensor, Hiddens], tuple[Tensor, Hiddens]]
"""Takes inputs `(batch, steps, …)` and a state; returns outputs `(batch, steps, …)` and the last state."""


def loss_and_hiddens(module: object, returned: Any) -> tuple[Tensor | None, Hiddens]:
    """Check that the `tbptt_step` of a module has returned a pair.

    Args:
        module: The module.
        returned: What it returned.

    Raises:
        ArgumentTypeError: It is not a pair.
    """
    if not isinstance(returned, tuple) or len(returned) != 2:
        given = f"{len(returned)} values" if isinstance(returned, tuple) else f"one {type(returned).__name__}"
        call = f"{type(module).__name__}.tbptt_step(chunk, hiddens)"
        rule = "it must return the loss of the chunk and the state after it, as in `return loss, hiddens`"
        raise ArgumentTypeError(f"{call} returned {given}: {rule}.")
    return returned


def map_hiddens(function: Callable[..., Tensor], hiddens: Hiddens, *others: Hiddens) -> Hiddens:
    """Apply a function to each tensor of a state.

    Args:
        function: Takes a tensor of the state, and the corresponding tensors of `others`.
        hiddens: The state.
        *others: States of the same structure.

    Returns:
        A state of the same structure.

    Raises:
        ArgumentTypeError: The state contains anything but tensors, tuples, lists, dictionaries and `None`.

    Example:
        >>> map_hiddens(torch.neg, (torch.ones(1), [torch.zeros(1), None]))
        (tensor([-1.]), [tensor([-0.]), None])
    """
    if hiddens is None:
        return None
    if isinstance(hiddens, Tensor):
        return function(hiddens, *others)
    if isinstance(hiddens, Mapping):
        return {key: map_hiddens(function, value, *(o[key] for o in others)) for key, value in hiddens.items()}
    if isinstance(hiddens, tuple | list):
        parts = [map_hiddens(function, *values) for values in zip(hiddens, *others, strict=True)]
        return type(hiddens)(*parts) if hasattr(hiddens, "_fields") else type(hiddens)(parts)
    raise ArgumentTypeError(
        f"A recurrent state must consist of tensors in tuples, lists and dictionaries, not of {type(hiddens).__name__}."
    )


def detach(hiddens: Hiddens) -> Hiddens:
    """Detach all tensors of a state from the graph."""
    return map_hiddens(Tensor.detach, hiddens)


def is_finite(hiddens: Hiddens) -> bool:
    """Return whether no tensor of a state contains NaN or infinity; reads the device."""
    flags: list[Tensor] = []

    def look(state: Tensor) -> Tensor:
        flags.append(state.isfinite().all())
        return state

    map_hiddens(look, hiddens)
    return not flags or bool(torch.stack([flag.to(flags[0].device) for flag in flags]).all())


def take_rows(hiddens: Hiddens, rows: Tensor, batch_dim: int) -> Hiddens:
    """Select the states of some rows of a batch.

    Args:
        hiddens: The state.
        rows: `(taken,)`, indices of the rows.
        batch_dim: The batch dimension of each tensor of the state.

    Returns:
        A state of `taken` rows.
    """
    return map_hiddens(lambda state: state.index_select(batch_dim, rows.to(state.device)), hiddens)


def reset_rows(hiddens: Hiddens, resets: Tensor, batch_dim: int, initial: Hiddens = None) -> Hiddens:
    """Reset the state of some rows.

    Args:
        hiddens: The state; `None` stays `None`, since all its rows are fresh.
        resets: `(batch,)`, true for the rows to reset.
        batch_dim: The batch dimension of each tensor of the state.
        initial: State of fresh rows, with the same structure; zeros by default.

    Returns:
        A state of the same structure. No gradient flows to the old state of a reset row.
    """
    if initial is None:
        initial = map_hiddens(torch.zeros_like, hiddens)

    def choose(old: Tensor, fresh: Tensor) -> Tensor:
        shape = [1] * old.dim()
        shape[batch_dim] = len(resets)
        return torch.where(resets.to(old.device).reshape(shape), fresh, old)

    return map_hiddens(choose, hiddens, initial)


class _ScaleGradient(torch.autograd.Function):
    """Identity; multiplies the gradient in the backward pass."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return state.view_as(state)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None


def scale_gradient(hiddens: Hiddens, factor: float) -> Hiddens:
    """Multiply the gradient that flows back through a state, and leave its values unchanged.

    Args:
        hiddens: The state.
        factor: Factor on the gradient.

    Returns:
        The state, with the same values.
    """

    def scaled(state: Tensor) -> Tensor:
        result: Tensor = _ScaleGradient.apply(state, factor)  # type: ignore[no-untyped-call]
        return result

    return map_hiddens(scaled, hiddens)
