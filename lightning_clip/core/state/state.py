"""`State`: base class of buffers that adopt the dtype and device of the values they store."""

from collections.abc import Mapping
from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor, nn
from torch.compiler import is_compiling

from lightning_clip.functional.reading import is_free_to_read
from lightning_clip.functional.scalars import Scalar, as_tensor


class State(nn.Module):
    """A module with buffers and without parameters.

    Its buffers take on the dtype of the first value and follow later values to their device. A loaded checkpoint
    replaces the buffers as a whole. So float64 norms stay float64, and sizes need not be known in advance. A buffer
    of another kind, or with a NaN that cannot be right, is refused.

    Attributes:
        holds_nan: Whether NaN stands for a value that has not come yet.
        absent_in_old_checkpoints: Whether a checkpoint without the buffers, saved before they existed, leaves them as
            they are instead of being refused.
    """

    holds_nan: ClassVar[bool] = False
    absent_in_old_checkpoints: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._has_dtype = False
        self._arrays: dict[str, tuple[Tensor, NDArray[Any]]] = {}

    def match(self, value: Scalar) -> None:
        """Take on the dtype of the first value, and the device of every value.

        Args:
            value: The value that is about to be stored, a number or a tensor of any shape.
        """
        if not self._has_dtype:
            self._has_dtype = True
            like = as_tensor(value)
            self.to(device=like.device, dtype=like.dtype)
            return
        first = next(iter(self._buffers.values()))
        if first is not None and not (first.is_cpu and not isinstance(value, Tensor)):
            device = as_tensor(value).device
            if first.device != device:
                self.to(device=device)

    def array(self, name: str) -> NDArray[Any] | None:
        """The memory of a buffer as an array if it is free to read, otherwise `None`.

        Args:
            name: The name of the buffer.
        """
        buffer, held = self._buffers[name], self._arrays.get(name)
        if held is not None and held[0] is buffer and not is_compiling():
            return held[1]
        if buffer is None or not is_free_to_read(buffer):
            return None
        self._arrays[name] = buffer, buffer.numpy()
        return self._arrays[name][1]

    def number(self, name: str) -> Scalar:
        """The value of a buffer `()`: a number if it is free to read, otherwise the tensor."""
        array = self.array(name)
        return self._buffers[name] if array is None else array[()]

    def set_number(self, name: str, value: Scalar) -> None:
        """Change the value of a buffer `()`."""
        array = None if isinstance(value, Tensor) else self.array(name)
        if array is None:
            setattr(self, name, value)
        else:
            array[()] = value

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the arrays: a copy of one would not share the memory of the copied buffer."""
        return {**self.__dict__, "_arrays": {}}

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        for name, buffer in self._buffers.items():
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor) and buffer is not None:
                if saved.dim() != buffer.dim() or saved.is_floating_point() != buffer.is_floating_point():
                    raise ValueError(f"{prefix}{name} has shape {tuple(saved.shape)} and type {saved.dtype}.")
                if not self.holds_nan and bool(saved.isnan().any()):
                    raise ValueError(f"{prefix}{name} holds NaN.")
                self._buffers[name] = saved.detach().clone()
                self._has_dtype = True
        if self.absent_in_old_checkpoints and not any(prefix + name in state_dict for name in self._buffers):
            return
        super()._load_from_state_dict(state_dict, prefix, *args)
