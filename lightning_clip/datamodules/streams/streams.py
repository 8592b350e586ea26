"""`Streams`: a long sequence, split into contiguous streams that are read in parallel."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_clip.datamodules.streams.chunk import Chunk


class Elements(Protocol):
    """Anything that can be sliced like an array: an array, a memory-mapped file, a text that is decoded on demand."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        """The elements of a slice with a start and a stop."""
        ...


class Part(NamedTuple):
    """The part of a sequence that belongs to one split.

    Attributes:
        inputs: The whole sequence.
        begin: Index of the first element of the part.
        end: Index after its last element.
        targets: The target of each element of the whole sequence; `None` for the next element.
        document_starts: Indices of the elements that start a document, in order, within the whole sequence.
    """

    inputs: Elements
    begin: int
    end: int
    targets: Elements | None = None
    document_starts: Sequence[int] | NDArray[np.int64] = ()

    @property
    def steps(self) -> int:
        """Number of elements with a target: all, or all but the last if the next element is the target."""
        return max(self.end - self.begin - (self.targets is None), 0)


class Streams:
    """The streams of one process.

    A part of `n` steps is split into `n_streams` streams whose lengths differ by at most one, so no step is dropped.
    All streams are read to the same length; the step that a shorter one lacks is masked. Every process therefore reads
    the same number of steps.

    Args:
        part: The part of the sequence to split.
        n_streams: Number of streams of all processes together.
        rows: Indices of the streams of this process.

    Attributes:
        steps: Length of the longest stream, in steps.
    """

    def __init__(self, part: Part, *, n_streams: int, rows: range) -> None:
        self.part = part
        self.n_streams = n_streams
        self.rows = rows
        self.steps = -(-part.steps // n_streams)
        self._edges = part.begin + part.steps * np.arange(n_streams + 1, dtype=np.int64) // n_streams
        self._document_starts = np.asarray(part.document_starts, dtype=np.int64)

    def read(self, start: int, stop: int, *, nominal_steps: int, message_scale: float = 1.0) -> Chunk:
        """Read the steps from `start` up to, but excluding, `stop` of each stream.

        Args:
            start: Index of the first step.
            stop: Index after the last step; at most `steps`.
            nominal_steps: Stored in the chunk.
            message_scale: Stored in the chunk.

        Returns:
            A chunk. Where a stream lacks a step, its input and target are 0 and its mask is false.
        """
        shape = len(self.rows), stop - start
        mask, resets = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        resets[:, 0] = start == 0
        inputs, targets = [], []
        shift = self.part.targets is None
        for row, stream in enumerate(self.rows):
            begin, end = int(self._edges[stream]) + start, min(int(self._edges[stream]) + stop, self._edges[stream + 1])
            mask[row, : end - begin] = True
            self._mark_documents(begin, end, mask[row], resets[row])
            elements = self.part.inputs[begin : end + shift]
            inputs.append(elements[: end - begin])
            targets.append(elements[1:] if self.part.targets is None else self.part.targets[begin:end])
        return Chunk(
            _rows(inputs, shape[1]),
            _rows(targets, shape[1]),
            torch.from_numpy(mask),
            torch.from_numpy(resets),
            reset_steps=tuple(np.flatnonzero(resets.any(axis=0)).tolist()),
            streams=tuple(self.rows),
            start=start,
            nominal_steps=nominal_steps,
            message_scale=message_scale,
        )

    def _mark_documents(self, begin: int, end: int, mask: NDArray[np.bool_], resets: NDArray[np.bool_]) -> None:
        """Reset the state where a document starts, and mask the step before it: documents do not predict each other."""
        first, after = np.searchsorted(self._document_starts, (begin, end + 1))
        starts = self._document_starts[first:after] - begin
        resets[starts[starts < end - begin]] = True
        if self.part.targets is None:
            mask[starts[starts > 0] - 1] = False


def _rows(parts: Sequence[NDArray[Any]], steps: int) -> torch.Tensor:
    """Pad rows with zeros to the same length, as float32 or int64."""
    dtype = np.float32 if parts[0].dtype.kind == "f" else np.int64
    rows = np.zeros((len(parts), steps, *parts[0].shape[1:]), dtype=dtype)
    for row, part in zip(rows, parts, strict=True):
        row[: len(part)] = part
    return torch.from_numpy(rows)
