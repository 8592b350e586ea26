"""Gradients made from tensors, for tests of a single step."""

from torch import Tensor, nn

from lightning_clip import ClipStrategy, Gradients, clip_
from lightning_clip.core import PendingStep


def holding(**grads: Tensor) -> Gradients:
    """Return gradients of zero weights by parameter name; `__` in a name stands for a dot."""
    params = []
    for grad in grads.values():
        param = nn.Parameter(grad.to_dense().new_zeros(grad.shape))
        param.grad = grad
        params.append(param)
    return Gradients([name.replace("__", ".") for name in grads], params)


def clipped(strategy: ClipStrategy, **grads: Tensor) -> dict[str, Tensor]:
    """Clip copies of the gradients, and return the results by the given names."""
    held = holding(**{name: grad.clone() for name, grad in grads.items()})
    clip_(held, strategy)
    return dict(zip(grads, held.tensors, strict=True))


def untouched(strategy: ClipStrategy, **grads: Tensor) -> PendingStep:
    """Clip the gradients, and fail if the strategy wrote to the memory of one, even the same values."""
    held = holding(**grads)
    before = [tensor._version for tensor in held.tensors]
    step = clip_(held, strategy)
    assert [tensor._version for tensor in held.tensors] == before
    return step
