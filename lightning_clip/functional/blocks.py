"""`Block`: several small tensors as one flat tensor, so that an operation on all of them is one operation."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from lightning_clip.functional.reading import is_free_to_read
from lightning_clip.functional.scratch import CACHED, scratch

Layout = list[tuple[torch.Size, torch.dtype, torch.device]]


def layout_of(tensors: Sequence[Tensor]) -> Layout:
    """Return what two lists of tensors have in common if they are divided into the same blocks."""
    return [(tensor.shape, tensor.dtype, tensor.device) for tensor in tensors]


class Block:
    """Some tensors of a list, with the same device and dtype, that are processed one after another in flat memory.

    Args:
        members: The positions of the tensors in the list.
        shapes: The shapes of all tensors of the list, which are dense.

    Attributes:
        members: The positions of the tensors in the list.
        numels: The number of elements of each member.
        numel: The number of elements of all members.
    """

    def __init__(self, members: Sequence[int], shapes: Sequence[torch.Size]) -> None:
        self.members = list(members)
        own = [shapes[i] for i in self.members]
        self._shape = own[0] if own.count(own[0]) == len(own) else None
        self.numels = [own[0].numel()] * len(own) if self._shape is not None else [shape.numel() for shape in own]
        self.numel = sum(self.numels)
        self._repeats: Tensor | None = None

    def of(self, values: Sequence[Tensor]) -> list[Tensor]:
        """The members of a list."""
        return [values[i] for i in self.members]

    def flatten(self, tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
        """Copy the members into one flat tensor.

        Args:
            tensors: The list, of tensors with the same shapes as those that the block was made of.
            out: Where to copy them, `(numel,)`; new memory by default.

        Returns:
            `(numel,)`, in memory of its own.
        """
        members = self.of(tensors)
        if self._shape is not None:  # half the time of `cat`, which needs a view of each
            target = None if out is None else out.view(len(members), *self._shape)
            return torch.stack(members, out=target).reshape(-1)
        if out is not None:
            return torch.cat([tensor.reshape(-1) for tensor in members], out=out)
        flat: Tensor = _flatten_dense_tensors(members)  # type: ignore[no-untyped-call]
        return flat

    def gather(self, tensors: Sequence[Tensor], *, second: bool = False) -> Tensor:
        """Like `flatten`, but in memory that the next call overwrites; see `scratch`."""
        return self.flatten(tensors, out=scratch(self.numel, tensors[self.members[0]], second=second))

    def unflatten(self, flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
        """Return views of a flat tensor in the shapes of the members.

        Args:
            flat: `(numel,)`.
            like: The list whose members have the shapes that they had when the block was made.
        """
        if self._shape is not None:
            return list(flat.view(len(self.members), *self._shape).unbind())
        return list(_unflatten_dense_tensors(flat, self.of(like)))  # type: ignore[no-untyped-call]

    def norms(self, flat: Tensor) -> Tensor:
        """The 2-norm of each member, while its elements are in the cache.

        Args:
            flat: `(numel,)`, float32 or better.

        Returns:
            One number for each member.
        """
        if self._shape is not None:
            norms: Tensor = torch.linalg.vector_norm(flat.view(len(self.members), -1), 2.0, 1)
            return norms
        return torch.stack(torch._foreach_norm(torch.split(flat, self.numels), 2.0))

    def peaks(self, sizes: Tensor) -> Tensor:
        """The largest element of each member.

        Args:
            sizes: `(numel,)`, none of them negative.

        Returns:
            One number for each member.
        """
        if self._shape is not None:
            return sizes.view(len(self.members), -1).amax(1)
        return torch.stack(torch._foreach_max(torch.split(sizes, self.numels)))

    def beside(self, flat: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Bring the elements and a number for each tensor into shapes in which an operation combines them.

        Args:
            flat: `(numel,)`.
            values: One number for each tensor of the list, `(n,)`.

        Returns:
            The elements, in the same memory, and the numbers, with their device and dtype.
        """
        if self._shape is None:
            return flat, self.spread(values, like=flat)
        return flat.view(len(self.members), -1), self._own(values.to(flat.device, flat.dtype)).unsqueeze(1)

    def spread(self, values: Tensor, *, like: Tensor) -> Tensor:
        """Give each element the number of its tensor.

        Args:
            values: One number for each tensor of the list, `(n,)`.
            like: The result gets its device and dtype.

        Returns:
            `(numel,)`; or `()` if the numbers are free to read and all the same.
        """
        if is_free_to_read(values):
            numbers = values.tolist()
            own = [numbers[i] for i in self.members]
            if own.count(own[0]) == len(own):
                return torch.full((), own[0], dtype=like.dtype, device=like.device)
        chosen = values.to(like.device, like.dtype)
        if self._repeats is None or self._repeats.device != chosen.device:
            self._repeats = torch.tensor(self.numels, device=chosen.device)
        return self._own(chosen).repeat_interleave(self._repeats, output_size=self.numel)

    def _own(self, values: Tensor) -> Tensor:
        """The numbers of the members."""
        if len(self.members) == len(values):
            return values
        if self.members[-1] - self.members[0] + 1 == len(self.members):
            return values[self.members[0] : self.members[-1] + 1]
        return torch.stack([values[i] for i in self.members])


def only(values: Tensor) -> float | None:
    """The number that all of some numbers are, if it is free to see that they are the same.

    Args:
        values: `(n,)`.
    """
    if not values.numel() or not is_free_to_read(values):
        return None
    numbers = values.tolist()
    return numbers[0] if numbers.count(numbers[0]) == len(numbers) else None


def blocks_of(tensors: Sequence[Tensor]) -> list[Block]:
    """Divide dense tensors into blocks.

    On the CPU, a block has at most 2^16 elements, unless a single tensor has more: then the temporary values of a rule
    stay in the cache and take little memory. On an accelerator, there is one block for each device and dtype. So the
    number of operations depends on the number of elements, but not on the number of tensors.

    Args:
        tensors: `n` dense tensors.

    Returns:
        The blocks; each tensor is in one of them, unless it is empty.

    Example:
        >>> [block.members for block in blocks_of([torch.ones(2), torch.ones(1, dtype=torch.float64), torch.ones(3)])]
        [[0, 2], [1]]
    """
    return _divided(layout_of(tensors))


def _divided(layout: Layout) -> list[Block]:
    shapes = [shape for shape, _, _ in layout]
    groups: dict[tuple[torch.device, torch.dtype], list[list[int]]] = {}
    filled: dict[tuple[torch.device, torch.dtype], int] = {}
    for i, (shape, dtype, device) in enumerate(layout):
        key, numel = (device, dtype), shape.numel()
        if not numel:
            continue
        group = groups.setdefault(key, [[]])
        if group[-1] and filled[key] + numel > CACHED and device.type == "cpu":
            group.append([])
        filled[key] = numel + (filled[key] if group[-1] else 0)
        group[-1].append(i)
    return [Block(members, shapes) for group in groups.values() for members in group]


class Blocks:
    """The blocks of the same tensors at each step, divided again only when their shapes, dtypes or devices change."""

    def __init__(self) -> None:
        self._found: tuple[Layout, list[Block]] = [], []

    def of(self, tensors: Sequence[Tensor]) -> list[Block]:
        """Return the blocks of all tensors.

        Args:
            tensors: `n` dense tensors.
        """
        layout = layout_of(tensors)
        if layout != self._found[0]:
            self._found = layout, _divided(layout)
        return self._found[1]


def joined(parts: Sequence[tuple[Block, Tensor]], tensors: Sequence[Tensor]) -> Tensor:
    """Put numbers that blocks have for their members into the order of the list.

    Args:
        parts: Each block with one number for each member.
        tensors: The list.

    Returns:
        `(n,)`, on the device of the first tensor; 0 for a tensor that is in no block.
    """
    order = [i for block, _ in parts for i in block.members]
    if order == list(range(len(tensors))) and len({tensors[block.members[0]].device for block, _ in parts}) == 1:
        return torch.cat([numbers for _, numbers in parts])
    found = {i: number for block, numbers in parts for i, number in zip(block.members, numbers.unbind(), strict=True)}
    zero = torch.zeros((), device=tensors[0].device)
    return torch.stack([found[i].to(zero.device) if i in found else zero for i in range(len(tensors))])


def copies_of(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copy dense tensors with one operation for each block; an empty tensor is its own copy."""
    copies = list(tensors)
    for block in blocks_of(tensors):
        for i, copy in zip(block.members, block.unflatten(block.flatten(tensors), tensors), strict=True):
            copies[i] = copy
    return copies
