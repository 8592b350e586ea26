"""`PerElement`: one number for each element of each gradient, kept under the parameter's name."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_clip.core.gradients import Gradients


class PerElement(nn.Module):
    """A tensor like each gradient (its local shard where sharded), float32 or better, starting at zero.

    Memory: as much as one more moment of Adam.

    Attributes:
        values: The tensors by parameter name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Tensor] = {}

    def take(self, grads: Gradients) -> list[Tensor]:
        """The tensors of the parameters that have a gradient now, to be changed in place.

        Args:
            grads: The gradients of this step.

        Returns:
            `n` tensors.
        """
        return [self._of(name, tensor) for name, tensor in zip(grads.names, grads.locals, strict=True)]

    def get_extra_state(self) -> dict[str, Any]:
        """The tensors by parameter name."""
        return {"values": {name: value.clone() for name, value in self.values.items()}}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_extra_state` returned."""
        self.values = {name: value.clone() for name, value in state["values"].items()}

    def _of(self, name: str, gradient: Tensor) -> Tensor:
        value = self.values.get(name)
        if value is None:
            dtype = torch.promote_types(gradient.dtype, torch.float32)
            value = torch.zeros_like(gradient, dtype=dtype)
        elif value.device != gradient.device:
            value = value.to(gradient.device)
        self.values[name] = value
        return value
