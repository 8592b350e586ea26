"""`Streams`: a long sequence, cut into contiguous streams that are read side by side."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_clip.datamodules.streams.chunk import Chunk


class Elements(Protocol):
    """Anything that is sliced like an array: an array, a mapped file, a text that is decoded when it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        """The elements of a slice with a start and a stop."""
        ...


class Part(NamedTuple):
    """A stretch of a sequence: what one split of the data consists of.

    Attributes:
        inputs: The whole sequence.
        begin: First element of the stretch.
        end: The element after its last.
        targets: What is to be told at each element; `None` for the next element.
        document_starts: Elements that begin a document, in order, counted in the whole sequence.
    """

    inputs: Elements
    begin: int
    end: int
    targets: Elements | None = None
    document_starts: Sequence[int] | NDArray[np.int64] = ()

    @property
    def steps(self) -> int:
        """How many elements have a target: all, or all but the last where the next element is the target."""
        return max(self.end - self.begin - (self.targets is None), 0)


class Streams:
    """The streams of one process.

    A stretch of `n` steps is cut into `n_streams` streams whose lengths differ by at most one, so that no step is left
    out. All count as equally long; the step that a shorter one lacks is masked. Every process has the same number of
    steps to read, however the streams are dealt out.

    Args:
        part: The sequence.
        n_streams: Number of streams, of all processes together.
        rows: The streams of this process.

    Attributes:
        steps: Steps of the longest stream.
    """

    def __init__(self, part: Part, *, n_streams: int, rows: range) -> None:
        self.part = part
        self.n_streams = n_streams
        self.rows = rows
        self.steps = -(-part.steps // n_streams)
        self._edges = part.begin + part.steps * np.arange(n_streams + 1, dtype=np.int64) // n_streams
        self._document_starts = np.asarray(part.document_starts, dtype=np.int64)

    def read(self, start: int, stop: int, *, nominal_steps: int, message_scale: float = 1.0) -> Chunk:
        """The steps from `start` to before `stop` of each stream.

        Args:
            start: First step.
            stop: The step after the last; at most `steps`.
            nominal_steps: Passed on in the chunk.
            message_scale: Passed on in the chunk.

        Returns:
            A chunk; where a stream has no such step, its input and target are 0 and its mask is false.
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
        """Reset where a document begins, and do not ask for its first element at the end of the one before."""
        first, after = np.searchsorted(self._document_starts, (begin, end + 1))
        starts = self._document_starts[first:after] - begin
        resets[starts[starts < end - begin]] = True
        if self.part.targets is None:
            mask[starts[starts > 0] - 1] = False


def _rows(parts: Sequence[NDArray[Any]], steps: int) -> torch.Tensor:
    """Rows of the same length, filled up with zeros: float32 or int64."""
    dtype = np.float32 if parts[0].dtype.kind == "f" else np.int64
    rows = np.zeros((len(parts), steps, *parts[0].shape[1:]), dtype=dtype)
    for row, part in zip(rows, parts, strict=True):
        row[: len(part)] = part
    return torch.from_numpy(rows)
