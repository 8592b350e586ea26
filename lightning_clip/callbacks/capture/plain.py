"""`plain`: a batch or a state as tensors on the CPU and plain types, which `torch.load(weights_only=True)` accepts."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

CHUNK = "__chunk__"
"""The key under which the fields of a `Chunk` are kept, the one class of its own that a capture may hold."""


class NotPlainError(TypeError):
    """Something that is no tensor and of no plain type."""


def plain(value: Any) -> Any:
    """Copy a nested value to the CPU.

    Args:
        value: Tensors, numbers, strings, `None`, and tuples, lists and dictionaries of them.

    Returns:
        The same, detached, on the CPU and sharing no memory.

    Raises:
        NotPlainError: It contains something else.

    Example:
        >>> plain({"a": (1, "b")})
        {'a': (1, 'b')}
    """
    return _mapped(value, lambda tensor: tensor.detach().to("cpu", copy=True))


def size_of(value: Any) -> int:
    """Return the size of all tensors of a nested value, in bytes; other values count nothing."""
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    _mapped(value, note)
    return sum(sizes)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if value is None or type(value) in (bool, int, float, complex, str, bytes):
        return value
    if hasattr(value, "_asdict") and type(value).__name__ == "Chunk":
        return {CHUNK: {key: _mapped(one, change) for key, one in value._asdict().items()}}
    if isinstance(value, Mapping):
        return {key: _mapped(one, change) for key, one in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_mapped(one, change) for one in value)
    raise NotPlainError(type(value).__name__)
