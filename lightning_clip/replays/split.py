"""Single samples of a batch: the batch size, one sample of a batch, and one row of a recurrent state."""

from typing import Any

from torch import Tensor

from lightning_clip.datamodules.streams.chunk import Chunk


def batch_size(batch: Any) -> int | None:
    """Return the number of samples: the length of the first tensor that has a dimension; `None` without one."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.dim() else None
    parts = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, tuple | list) else ()
    return next((size for part in parts if (size := batch_size(part)) is not None), None)


def sample_of(batch: Any, position: int, size: int) -> Any:
    """Return a batch of one sample.

    Args:
        batch: Tensors in tuples, lists and dictionaries.
        position: The position of the sample.
        size: The number of samples; what has another length belongs to all of them.
    """
    if isinstance(batch, Tensor):
        return batch[position : position + 1] if batch.dim() and len(batch) == size else batch
    if isinstance(batch, dict):
        return {key: sample_of(one, position, size) for key, one in batch.items()}
    if isinstance(batch, Chunk):
        tensors = {
            key: sample_of(one, position, size) for key, one in batch._asdict().items() if isinstance(one, Tensor)
        }
        return batch._replace(**tensors, streams=None if batch.streams is None else (batch.streams[position],))
    if isinstance(batch, list) and len(batch) == size and not any(isinstance(one, Tensor) for one in batch):
        return batch[position : position + 1]
    if isinstance(batch, tuple | list):
        return type(batch)(sample_of(one, position, size) for one in batch)
    return batch


def row_of(state: Any, position: int, size: int, dim: int = 1) -> Any:
    """Return the recurrent state of one sample, whose dimension is `dim`, or else the first of that size."""
    if isinstance(state, Tensor):
        dims = [dim, *range(state.dim())]
        at = next((one for one in dims if one < state.dim() and state.shape[one] == size), None)
        return state if at is None else state.narrow(at, position, 1)
    if isinstance(state, dict):
        return {key: row_of(one, position, size, dim) for key, one in state.items()}
    if isinstance(state, tuple | list):
        return type(state)(row_of(one, position, size, dim) for one in state)
    return state


def tensors_of(batch: Any, name: str = "batch") -> dict[str, Tensor]:
    """Return the tensors of a batch with names to read, such as `batch[0]`."""
    if isinstance(batch, Tensor):
        return {name: batch}
    if isinstance(batch, Chunk):
        pairs: Any = [(f"batch.{key}", one) for key, one in batch._asdict().items()]
    elif isinstance(batch, dict):
        pairs = [(f"{name}[{key!r}]", one) for key, one in batch.items()]
    else:
        parts = batch if isinstance(batch, tuple | list) else ()
        plain_names = {2: ("inputs", "targets")}.get(len(parts) if name == "batch" else 0)
        pairs = [(plain_names[i] if plain_names else f"{name}[{i}]", one) for i, one in enumerate(parts)]
    return {key: tensor for at, one in pairs for key, tensor in tensors_of(one, at).items()}
