"""`ChunkSampler` and `ChunkLoader`: yield the chunks of an epoch in order, and resume at any of them."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from torch.utils.data import SequentialSampler

from lightning_clip._errors import ArgumentError
from lightning_clip.datamodules.streams.chunk import Chunk
from lightning_clip.datamodules.streams.chunk_lengths import ChunkLengths
from lightning_clip.datamodules.streams.streams import Streams


class ChunkSampler(SequentialSampler):
    """Yields the first step of each chunk of an epoch and the step after its last.

    Args:
        steps: Length of a stream, in steps.
        nominal_steps: The usual length of a chunk, `truncated_bptt_steps`.
        lengths: Decides how long the chunks are.
        seed: Seeds random lengths and, together with the epoch, their order.

    Attributes:
        epoch: Index of the epoch, which sets the order of random lengths. Lightning sets it with `set_epoch`.
    """

    def __init__(self, steps: int, nominal_steps: int, lengths: ChunkLengths, *, seed: int = 0) -> None:
        super().__init__(range(steps))
        self.nominal_steps = min(nominal_steps, steps)
        self.law = lengths
        self.seed = seed
        self.epoch = 0
        self.lengths = lengths.cut(np.random.default_rng(seed), self.nominal_steps, steps)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch.

        Args:
            epoch: Index of the next epoch, from 0.
        """
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]  # a chunk has a start and a stop
        lengths = self.lengths
        if self.law.is_random:
            lengths = np.random.default_rng((self.seed, self.epoch)).permutation(lengths)
        stop = 0
        for length in lengths.tolist():
            start, stop = stop, stop + length
            yield start, stop

    def __len__(self) -> int:
        return len(self.lengths)


class ChunkLoader:
    """Yields the chunks of parallel streams in order, and resumes within an epoch from a saved position.

    It is not a `DataLoader`: there is nothing to shuffle, collate or prefetch, and Lightning must not distribute its
    samples over processes. Lightning's checkpoints hold its position, the number of chunks it has yielded.

    Args:
        streams: The streams of this process.
        sampler: Decides where chunks start and end.
    """

    batch_sampler: None = None  # Lightning reads it from every loader that has a `sampler`

    def __init__(self, streams: Streams, sampler: ChunkSampler) -> None:
        self.streams = streams
        self.sampler = sampler
        self._position = (0, 0)
        self._resume_at: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Chunk]:
        epoch = self.sampler.epoch
        saved, self._resume_at = self._resume_at, None
        first = saved[1] if saved and saved[0] == epoch else 0
        for number, (start, stop) in islice(enumerate(self.sampler), first, None):
            self._position = (epoch, number + 1)
            yield self.streams.read(
                start, stop, nominal_steps=self.sampler.nominal_steps, message_scale=self.sampler.law.message_scale
            )

    def state_dict(self) -> dict[str, Any]:
        """The position, and the layout of the streams that it refers to."""
        epoch, chunk = self._position
        return {"version": 1, "epoch": epoch, "chunk": chunk, **self._layout()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume at a saved position, in the epoch in which it was saved.

        Args:
            state_dict: The return value of `state_dict`.

        Raises:
            ArgumentError: The position is within an epoch of streams with a different layout.
        """
        if state_dict["chunk"] == state_dict["chunks"]:
            return
        layout = self._layout()
        saved = {key: state_dict[key] for key in layout}
        if saved != layout:
            raise ArgumentError(
                f"The checkpoint was saved within an epoch of streams with {saved}; these streams have {layout}, so "
                "its position does not apply. Resume with the same data, batch_size, truncated_bptt_steps, "
                "chunk_lengths, seed and number of processes, or from a checkpoint saved at the end of an epoch."
            )
        self._resume_at = self._position = (state_dict["epoch"], state_dict["chunk"])

    def _layout(self) -> dict[str, int]:
        return {
            "n_streams": self.streams.n_streams,
            "steps": self.streams.steps,
            "chunks": len(self.sampler),
            "seed": self.sampler.seed if self.sampler.law.is_random else 0,
        }
