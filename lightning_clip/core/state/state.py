"""`State`: buffers that take their size, dtype and device from what they meet."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class State(nn.Module):
    """A module of buffers without parameters.

    Buffers take the dtype of the first value they meet and follow later ones to their device; a loaded checkpoint
    replaces them whole. So float64 norms stay float64, and sizes need not be known in advance.
    """

    def __init__(self) -> None:
        super().__init__()
        self._has_dtype = False

    def match(self, value: Tensor) -> None:
        """Take on the dtype of the first value, and the device of each.

        Args:
            value: What is about to be stored, any shape.
        """
        if not self._has_dtype:
            self._has_dtype = True
            self.to(device=value.device, dtype=value.dtype)
        elif next(iter(self._buffers.values())).device != value.device:
            self.to(device=value.device)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        for name, buffer in self._buffers.items():
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor) and buffer is not None:
                self._buffers[name] = saved.detach().clone()
                self._has_dtype = True
        super()._load_from_state_dict(state_dict, prefix, *args)
