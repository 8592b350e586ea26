"""`ChunkSampler` and `ChunkLoader`: the chunks of an epoch, in order, from any of them on."""

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
    """Where the chunks of an epoch begin and end.

    Args:
        steps: Steps of a stream.
        nominal_steps: `truncated_bptt_steps`.
        lengths: The law of the lengths.
        seed: Decides the lengths, and with the epoch their order.

    Attributes:
        epoch: Number of the epoch, which decides the order of random lengths; Lightning says it by `set_epoch`.
    """

    def __init__(self, steps: int, nominal_steps: int, lengths: ChunkLengths, *, seed: int = 0) -> None:
        super().__init__(range(steps))
        self.nominal_steps = min(nominal_steps, steps)
        self.law = lengths
        self.seed = seed
        self.epoch = 0
        self.lengths = lengths.cut(np.random.default_rng(seed), self.nominal_steps, steps)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes.

        Args:
            epoch: Its number, from 0.
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
    """Chunks of parallel streams in order, always one after the other; it goes on in mid-epoch where it was saved.

    It is not a `DataLoader`: there is nothing to shuffle, to collate or to fetch ahead, and Lightning deals out no
    samples of it. Its position is saved in Lightning's checkpoints and counts the chunks that were asked for.

    Args:
        streams: The streams of this process.
        sampler: Where the chunks begin and end.
    """

    batch_sampler: None = None  # Lightning asks every loader that has a `sampler`

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
        """The position, and what it is a position in."""
        epoch, chunk = self._position
        return {"version": 1, "epoch": epoch, "chunk": chunk, **self._layout()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on at a saved position, in the epoch it was saved in.

        Args:
            state_dict: What `state_dict` returned.

        Raises:
            ValueError: It is a position inside an epoch of other streams.
        """
        if state_dict["chunk"] == state_dict["chunks"]:
            return
        layout = self._layout()
        saved = {key: state_dict[key] for key in layout}
        if saved != layout:
            raise ArgumentError(
                f"The checkpoint stopped inside an epoch of {saved}, these streams are {layout}: the position has no "
                "meaning here. Resume with the same data, batch_size, truncated_bptt_steps, chunk_lengths, seed and "
                "number of processes, or from a checkpoint made at the end of an epoch."
            )
        self._resume_at = self._position = (state_dict["epoch"], state_dict["chunk"])

    def _layout(self) -> dict[str, int]:
        return {
            "n_streams": self.streams.n_streams,
            "steps": self.streams.steps,
            "chunks": len(self.sampler),
            "seed": self.sampler.seed if self.sampler.law.is_random else 0,
        }
