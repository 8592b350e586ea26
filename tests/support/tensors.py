"""Gradients made from tensors, for tests of one situation."""

from torch import Tensor, nn

from lightning_clip import ClipStrategy, Gradients, clip_
from lightning_clip.core import PendingStep


def holding(**grads: Tensor) -> Gradients:
    """The gradients by parameter name, over weights of zeros; `__` in a name stands for a dot."""
    params = []
    for grad in grads.values():
        param = nn.Parameter(grad.to_dense().new_zeros(grad.shape))
        param.grad = grad
        params.append(param)
    return Gradients([name.replace("__", ".") for name in grads], params)


def clipped(strategy: ClipStrategy, **grads: Tensor) -> dict[str, Tensor]:
    """What the strategy leaves of copies of the gradients, by the names they were given by."""
    held = holding(**{name: grad.clone() for name, grad in grads.items()})
    clip_(held, strategy)
    return dict(zip(grads, held.tensors, strict=True))


def untouched(strategy: ClipStrategy, **grads: Tensor) -> PendingStep:
    """Let the strategy act, and fail if it wrote to the memory of a gradient, be it the same values."""
    held = holding(**grads)
    before = [tensor._version for tensor in held.tensors]
    event = clip_(held, strategy)
    assert [tensor._version for tensor in held.tensors] == before
    return event
