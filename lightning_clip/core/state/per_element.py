"""`PerElement`: one number for each element of each gradient, stored by parameter name."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_clip._errors import ArgumentError
from lightning_clip.core.gradients import Gradients
from lightning_clip.functional.blocks import Block, blocks_of, layout_of
from lightning_clip.functional.scratch import scratch
from lightning_clip.functional.sharded import is_sharded


@dataclass
class ElementBlock:
    """The numbers of several parameters in one flat tensor.

    Attributes:
        block: Which gradients of the step they belong to.
        values: The numbers, `(block.numel,)`, to be changed in place.
        complete: What a rule knows of all numbers of the block; `False` in a new block.
    """

    block: Block
    values: Tensor
    complete: bool = False

    def scratch(self) -> tuple[Tensor | None, Tensor | None]:
        """Memory of the size of `values` for two temporary tensors; see `functional.scratch`."""
        numel, values = self.block.numel, self.values
        return scratch(numel, values), scratch(numel, values, second=True)


class PerElement(nn.Module):
    """One tensor per gradient, of the same shape (of its local shard, if sharded), real, in float32 or better.

    It takes as much memory as one moment of Adam. The tensors of parameters that have gradients at the same steps lie
    one after another in flat memory, so that a rule changes all of them at once. A checkpoint leaves sharded parameters
    out: this process does not hold the other ranks' parts, and its own part would be wrong for them. After a resume,
    the tensors of sharded parameters start again.

    Args:
        start: The initial value of each element.

    Attributes:
        values: The tensors by parameter name.
        started: The parameters whose tensors were created by the latest `take`.
        left_out: The parameters that are missing from the checkpoint this state was restored from.

    Example:
        >>> state = PerElement()
        >>> layer = torch.nn.Linear(2, 1)
        >>> layer(torch.ones(1, 2)).sum().backward()
        >>> weight, bias = state.take(Gradients.of_module(layer))
        >>> weight.shape
        torch.Size([1, 2])
    """

    def __init__(self, *, start: float = 0.0) -> None:
        super().__init__()
        self.start = start
        self.values: dict[str, Tensor] = {}
        self.started: tuple[str, ...] = ()
        self.left_out: tuple[str, ...] = ()
        self._sharded: set[str] = set()
        self._blocks: tuple[list[Any], list[ElementBlock]] | None = None

    def take(self, grads: Gradients) -> list[Tensor]:
        """The tensors of the parameters that have a gradient now, to be changed in place.

        Args:
            grads: The gradients of this step.

        Returns:
            `n` tensors.

        Raises:
            ArgumentError: A gradient is sparse, so its elements differ from step to step.
        """
        self.blocks(grads)
        return [self.values[name] for name in grads.names]

    def blocks(self, grads: Gradients) -> list[ElementBlock]:
        """The same numbers as `take`, in flat memory; those of empty gradients are left out.

        Args:
            grads: The gradients of this step.

        Raises:
            ArgumentError: A gradient is sparse, so its elements differ from step to step.
        """
        self.started = ()
        tensors = grads.locals
        layout = [grads.names, layout_of(tensors)]
        if self._blocks is None or self._blocks[0] != layout:
            self._check(grads)
            values = [self._of(name, tensor) for name, tensor in zip(grads.names, tensors, strict=True)]
            self._blocks = layout, [self._packed(block, grads.names, values) for block in blocks_of(values)]
        return self._blocks[1]

    def get_extra_state(self) -> dict[str, Any]:
        """The tensors by parameter name."""
        values = {name: value.clone() for name, value in self.values.items() if name not in self._sharded}
        return {"values": values, "left_out": sorted(self._sharded)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the result of `get_extra_state`."""
        self.values = {name: value.clone() for name, value in state["values"].items()}
        self.left_out = tuple(state["left_out"])
        self._blocks = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the blocks: a copy makes its own from the tensors."""
        return {**self.__dict__, "_blocks": None}

    def _check(self, grads: Gradients) -> None:
        for name, tensor in zip(grads.names, grads.tensors, strict=True):
            if tensor.layout is not torch.strided:
                raise ArgumentError(
                    f"A history per element needs dense gradients, but the gradient of {name!r} is sparse: "
                    "build its layer with sparse=False, or use a rule per parameter, for instance AdaGC()."
                )
            if is_sharded(tensor):
                self._sharded.add(name)

    def _of(self, name: str, gradient: Tensor) -> Tensor:
        value = self.values.get(name)
        if value is None or value.shape != gradient.shape:  # another shape: saved before sharding
            dtype = torch.promote_types(gradient.real.dtype if gradient.is_complex() else gradient.dtype, torch.float32)
            value = torch.full_like(gradient, self.start, dtype=dtype)
            self.started = (*self.started, name)
        elif value.device != gradient.device:
            value = value.to(gradient.device)
        self.values[name] = value
        return value

    def _packed(self, block: Block, names: tuple[str, ...], values: list[Tensor]) -> ElementBlock:
        """Move the tensors of a block into flat memory."""
        flat = block.flatten(values)
        for i, view in zip(block.members, block.unflatten(flat, values), strict=True):
            self.values[names[i]] = view
        return ElementBlock(block, flat)
