"""`BufferKeeper`: finite copies of the buffers that a forward pass changes, such as BatchNorm's running statistics."""

from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lightning_clip.functional.norms import local_values

_RECHECK_EVERY_N_STEPS = 100


class BufferKeeper:
    """Keeps copies of a module's floating-point buffers, and writes them back where a batch left NaN or infinity.

    Buffers that contain NaN or infinity when first seen, such as causal masks, are left alone. Only buffers that change
    are copied again at each step, all at once and without reading the device. Every 100 steps the device is read to
    find out which ones change.

    Args:
        module: The module, before the first batch.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> keeper = BufferKeeper(norm)
        >>> _ = norm(torch.full((3, 2), torch.nan))
        >>> keeper.mend_()
        >>> norm.running_mean
        tensor([0., 0.])
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._excluded: set[str] = set()
        self._kept: dict[str, Tensor] = {}
        self._changing: set[str] = set()
        self._steps = 0
        self._adopt(self._floating())

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the buffers after a good step; elements that are NaN or infinite keep their earlier copy."""
        if self._steps % _RECHECK_EVERY_N_STEPS == 0:
            self._find_changing()
        self._steps += 1
        if not self._changing:
            return
        now = {name: tensor for name, tensor in self._floating().items() if name in self._changing}
        for names in self._groups(now):
            flat = torch.cat([now[name].reshape(-1) for name in names])
            kept = torch.cat([self._kept[name].reshape(-1) for name in names])
            parts = torch.split(torch.where(flat.isfinite(), flat, kept), [now[name].numel() for name in names])
            self._kept.update({name: part.view_as(now[name]) for name, part in zip(names, parts, strict=True)})

    @torch.no_grad()
    def mend_(self) -> None:
        """Replace NaN and infinity in the buffers by the latest finite copies, in place."""
        for name, tensor in self._floating().items():
            if name in self._kept and self._kept[name].shape == tensor.shape:
                tensor.copy_(torch.where(tensor.isfinite(), tensor, self._kept[name]))

    def _floating(self) -> dict[str, Tensor]:
        buffers = {name: b for name, b in self._module.named_buffers() if not is_lazy(b) and b.is_floating_point()}
        return {name: local_values(buffer.detach()) for name, buffer in buffers.items()}

    def _find_changing(self) -> None:
        buffers = self._floating()
        new = {name: b for name, b in buffers.items() if name not in self._kept and name not in self._excluded}
        old = [name for name in buffers if name in self._kept and self._kept[name].shape == buffers[name].shape]
        if old:
            device = buffers[old[0]].device
            same = torch.stack([(buffers[name] == self._kept[name]).all().to(device) for name in old]).tolist()
            self._changing |= {name for name, is_same in zip(old, same, strict=True) if not is_same}
        self._adopt(new)

    def _adopt(self, buffers: dict[str, Tensor]) -> None:
        for name, buffer in buffers.items():
            if bool(buffer.isfinite().all()):
                self._kept[name] = buffer.clone()
            else:
                self._excluded.add(name)

    def _groups(self, buffers: dict[str, Tensor]) -> list[list[str]]:
        """Names of buffers that can be concatenated."""
        groups: dict[tuple[torch.device, torch.dtype], list[str]] = defaultdict(list)
        for name, buffer in buffers.items():
            if self._kept[name].shape == buffer.shape:
                groups[buffer.device, buffer.dtype].append(name)
        return list(groups.values())
