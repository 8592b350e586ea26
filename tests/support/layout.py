"""Tensors sharded over two processes."""

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Placement


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return the full tensor, gathered if it is sharded."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


class Layout:
    """Puts each process's part of a full tensor into a `DTensor`, without communication."""

    def __init__(self, rank: int, places: dict[str, Placement]) -> None:
        self.rank, self.places, self.mesh = rank, places, init_device_mesh("cpu", (2,))

    def __call__(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        place = self.places.get(name)
        if place is None:
            return tensor.clone()
        return DTensor.from_local(
            self.part(name, tensor).clone(),
            self.mesh,
            [place],
            run_check=False,
            shape=tensor.shape,
            stride=tensor.stride(),
        )

    def part(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Return this process's part of the tensor."""
        place = self.places.get(name)
        if place is None or place.is_replicate():
            return tensor
        parts = tensor.chunk(2, place.dim)
        return parts[self.rank] if self.rank < len(parts) else parts[0].narrow(place.dim, 0, 0)
