"""`CarriedState`: the recurrent state between two chunks, and which chunk it waits for."""

from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_clip.modules.tbptt.hiddens import Hiddens, map_hiddens, take_rows


class StreamChunk(Protocol):
    """What a batch says about its rows. `Chunk`, which the data modules here yield, says all of it."""

    @property
    def inputs(self) -> Tensor:
        """`(streams, steps, …)`."""

    @property
    def resets(self) -> Tensor | None:
        """`(streams, steps)`, true where the state is to be forgotten before the step is read."""

    @property
    def reset_steps(self) -> tuple[int, ...]:
        """The steps at which some row is reset."""

    @property
    def streams(self) -> tuple[int, ...] | None:
        """Which streams the rows are, counted over all processes."""

    @property
    def start(self) -> int | None:
        """How many steps of the streams came before."""

    @property
    def nominal_steps(self) -> int | None:
        """Steps of a chunk as a rule."""

    @property
    def message_scale(self) -> float:
        """Factor on the gradient of the state at multiples of `nominal_steps`."""


class _Record(NamedTuple):
    streams: tuple[int, ...]
    position: int | None
    hiddens: Hiddens


class CarriedState:
    """A state without a graph, the streams that its rows belong to, and the step that comes next.

    The state before the last chunk is kept too, for those who evaluate a chunk more than once.

    Args:
        batch_dim: The dimension of the batch in the tensors of the state.
    """

    def __init__(self, batch_dim: int) -> None:
        self._batch_dim = batch_dim
        self._before: _Record | None = None
        self._after: _Record | None = None
        self._is_restored = False

    def forget(self) -> None:
        """Begin afresh."""
        self._before = self._after = None

    def recall(self, streams: tuple[int, ...], start: int | None, initial: Hiddens, device: torch.device) -> Hiddens:
        """The state with which a chunk begins.

        Args:
            streams: Its streams.
            start: Its first step; `None` for the one after the last chunk.
            initial: The state of fresh streams.
            device: Where to.

        Returns:
            The state, without a graph, or `initial`.

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
                f"Training goes on at step {start} of the streams, but the checkpoint holds the state of "
                f"{_where(self._after)}: the streams start with a fresh state."
            )
        else:
            raise RuntimeError(
                f"The chunk begins at step {start} of its streams, but the state is that of {_where(self._after)}. "
                "Chunks have to be read in order: do not shuffle them, and skip none."
            )
        return initial

    def keep(
        self, streams: tuple[int, ...], end: int | None, hiddens: Hiddens, dtype: str | torch.dtype | None
    ) -> None:
        """Keep the state with which a chunk has ended.

        Args:
            streams: Its streams.
            end: The step that comes next; `None` if nobody counts.
            hiddens: The state.
            dtype: Its floating point numbers are kept in this one.
        """

        def without_graph(state: Tensor) -> Tensor:
            state = state.detach()
            return state.to(dtype) if state.is_floating_point() and isinstance(dtype, torch.dtype) else state

        self._after = _Record(streams, end, map_hiddens(without_graph, hiddens))
        self._is_restored = False

    def state_dict(self) -> dict[str, Any] | None:
        """What to save: of all processes, which have to ask together, on the CPU.

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
        """Go on with a saved state.

        Args:
            state_dict: What `state_dict` returned.
        """
        self.forget()
        self._is_restored = True
        if state_dict is not None:
            self._after = _Record(tuple(state_dict["streams"]), state_dict["position"], state_dict["hiddens"])

    def _rows(self, record: _Record, streams: tuple[int, ...], device: torch.device) -> Hiddens:
        """The state of some streams, in their order."""
        hiddens = map_hiddens(lambda state: state.to(device), record.hiddens)
        if streams == record.streams:
            return hiddens
        row_of = {stream: row for row, stream in enumerate(record.streams)}
        unknown = [stream for stream in streams if stream not in row_of]
        if unknown:
            raise RuntimeError(
                f"There is no state of the streams {unknown}, only of {list(record.streams)}. Every chunk of an epoch "
                "needs the rows of the one before: do not shuffle, do not deal rows out to processes by a "
                "DistributedSampler, and resume with the same batch size and number of processes."
            )
        return take_rows(hiddens, torch.tensor([row_of[stream] for stream in streams]), self._batch_dim)


def _where(record: _Record | None) -> str:
    return "no step" if record is None else f"step {record.position}"


def _of_all(tensor: Tensor, dim: int) -> Tensor:
    """The tensors of all processes, one after the other."""
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
