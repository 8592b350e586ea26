"""`CarriedState`: the recurrent state between two chunks, and the chunk that it belongs to."""

from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_clip.modules.tbptt.hiddens import Hiddens, map_hiddens, reset_rows, take_rows


class StreamChunk(Protocol):
    """What a batch tells about its rows. The data modules of this package yield `Chunk`, which has all attributes."""

    @property
    def inputs(self) -> Tensor:
        """`(streams, steps, …)`."""

    @property
    def resets(self) -> Tensor | None:
        """`(streams, steps)`, true where the state is reset before the step is read."""

    @property
    def reset_steps(self) -> tuple[int, ...]:
        """The steps at which some row is reset, in order."""

    @property
    def streams(self) -> tuple[int, ...] | None:
        """Indices of the rows' streams, counted over all processes."""

    @property
    def start(self) -> int | None:
        """Number of steps of the streams before this chunk."""

    @property
    def nominal_steps(self) -> int | None:
        """The usual length of a chunk, in steps."""

    @property
    def message_scale(self) -> float:
        """Factor on the gradient of the state at multiples of `nominal_steps`."""


class _Record(NamedTuple):
    streams: tuple[int, ...]
    position: int | None
    hiddens: Hiddens


class CarriedState:
    """A detached state, the streams that its rows belong to, and the next step of these streams.

    It also keeps the state before the last chunk, so that a chunk can be evaluated more than once.

    Args:
        batch_dim: The batch dimension of the tensors of the state.

    Attributes:
        initial: The detached initial state of the rows of the last chunk, for `reset`; `None` for zeros.
    """

    def __init__(self, batch_dim: int) -> None:
        self._batch_dim = batch_dim
        self._before: _Record | None = None
        self._after: _Record | None = None
        self.initial: Hiddens = None
        self._is_restored = False

    def forget(self) -> None:
        """Drop the state, so that the next chunk starts fresh."""
        self._before = self._after = None

    def reset(self, *, non_finite_only: bool) -> None:
        """Give rows the initial state, and stay at the same step of the streams; reads the device.

        Args:
            non_finite_only: Whether to reset only rows whose state contains NaN or infinity, instead of all.
        """
        self._before, self._after = (self._reset(record, non_finite_only) for record in (self._before, self._after))

    def _reset(self, record: _Record | None, non_finite_only: bool) -> _Record | None:
        if record is None or record.hiddens is None:
            return record
        rows = torch.ones(len(record.streams), dtype=torch.bool)
        if non_finite_only:
            rows = torch.zeros_like(rows)

            def note(state: Tensor) -> Tensor:
                finite = state.movedim(self._batch_dim, 0).flatten(1).isfinite().all(dim=1)
                rows.logical_or_(~finite.cpu())
                return state

            map_hiddens(note, record.hiddens)
        if not rows.any():
            return record
        try:
            fresh = reset_rows(record.hiddens, rows, self._batch_dim, self.initial)
        except (RuntimeError, ValueError, KeyError, TypeError):  # the initial state was that of other rows
            fresh = reset_rows(record.hiddens, rows, self._batch_dim)
        return record._replace(hiddens=fresh)

    def recall(self, streams: tuple[int, ...], start: int | None, initial: Hiddens, device: torch.device) -> Hiddens:
        """Return the state with which a chunk starts.

        Args:
            streams: Indices of the chunk's streams.
            start: First step of the chunk; `None` for the step after the last chunk.
            initial: State of fresh streams.
            device: Device of the returned state.

        Returns:
            The detached state, or `initial`.

        Raises:
            RuntimeError: There is no state of these streams at this step.
        """
        records = (self._after, self._before)
        self._before = next((record for record in records if record and record.position == start), None)
        if start == 0 or (start is None and self._after is None):
            self._before = None
        elif self._before is not None:
            return self._rows(self._before, streams, device)
        elif self._is_restored:
            rank_zero_warn(
                f"Training resumes at step {start} of the streams, but the checkpoint holds the state of "
                f"{_where(self._after)}. The streams start with a fresh state."
            )
        else:
            raise RuntimeError(
                f"The chunk starts at step {start} of its streams, but the carried state is that of "
                f"{_where(self._after)}. Read chunks in order: do not shuffle or skip any."
            )
        return initial

    def keep(
        self, streams: tuple[int, ...], end: int | None, hiddens: Hiddens, dtype: str | torch.dtype | None
    ) -> None:
        """Store the state after a chunk.

        Args:
            streams: Indices of the chunk's streams.
            end: The next step of these streams; `None` if unknown.
            hiddens: The state after the chunk.
            dtype: Data type in which floating point tensors are stored; anything else keeps theirs.
        """

        def without_graph(state: Tensor) -> Tensor:
            state = state.detach()
            return state.to(dtype) if state.is_floating_point() and isinstance(dtype, torch.dtype) else state

        self._after = _Record(streams, end, map_hiddens(without_graph, hiddens))
        self._is_restored = False

    def state_dict(self) -> dict[str, Any] | None:
        """The state of all processes, on the CPU. All processes must call this together.

        Returns:
            Plain types and tensors; `None` if there is no state.
        """
        if self._after is None:
            return None
        streams, position, hiddens = self._after
        numbers = _of_all(torch.tensor(streams, device=_device_of(hiddens)), 0)
        saved = map_hiddens(lambda state: _of_all(state, self._batch_dim).cpu().clone(), hiddens)
        return {"version": 1, "streams": numbers.tolist(), "position": position, "hiddens": saved}

    def load_state_dict(self, state_dict: dict[str, Any] | None) -> None:
        """Restore a saved state.

        Args:
            state_dict: The return value of `state_dict`.
        """
        self.forget()
        self._is_restored = True
        if state_dict is not None:
            self._after = _Record(tuple(state_dict["streams"]), state_dict["position"], state_dict["hiddens"])

    def _rows(self, record: _Record, streams: tuple[int, ...], device: torch.device) -> Hiddens:
        """Select the state of some streams, in the given order."""
        hiddens = map_hiddens(lambda state: state.to(device), record.hiddens)
        if streams == record.streams:
            return hiddens
        row_of = {stream: row for row, stream in enumerate(record.streams)}
        unknown = [stream for stream in streams if stream not in row_of]
        if unknown:
            raise RuntimeError(
                f"There is no state for streams {unknown}, only for {list(record.streams)}. Every chunk of an epoch "
                "must have the same streams: do not shuffle, do not use a DistributedSampler, and resume with the same "
                "batch size and number of processes."
            )
        return take_rows(hiddens, torch.tensor([row_of[stream] for stream in streams]), self._batch_dim)


def _where(record: _Record | None) -> str:
    return "no step" if record is None else f"step {record.position}"


def _of_all(tensor: Tensor, dim: int) -> Tensor:
    """Concatenate the tensors of all processes."""
    world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if world == 1:
        return tensor
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(world)]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts, dim)


def _device_of(hiddens: Hiddens) -> torch.device:
    devices: list[torch.device] = []

    def note(state: Tensor) -> Tensor:
        devices.append(state.device)
        return state

    map_hiddens(note, hiddens)
    return devices[0] if devices else torch.device("cpu")
