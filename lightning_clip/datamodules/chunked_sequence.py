"""`ChunkedSequenceDataModule`: one long sequence of numbers or symbols, read as parallel streams."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_clip._checks import check_rule
from lightning_clip._errors import InputError
from lightning_clip.datamodules.mackey_glass import mackey_glass
from lightning_clip.datamodules.streams.chunk_lengths import ChunkLengths
from lightning_clip.datamodules.streams.stream_data_module import Split, StreamDataModule
from lightning_clip.datamodules.streams.streams import Part


class ChunkedSequenceDataModule(StreamDataModule):
    """A long sequence as `batch_size` contiguous streams, in consecutive chunks: for truncated backpropagation.

    Row `i` of each chunk goes on where row `i` of the chunk before has stopped, so that a module that carries its state
    (`StatefulMixin`) sees each stream as one sequence. A chunk says which rows start afresh: all at the start of an
    epoch, one where a document begins. No element is left out: the last chunk may be shorter, and what the shorter
    streams lack in it is masked.

    The target at each step is the next element, unless `targets` are given. The last element of a document then has
    none, since the next one belongs to another.

    Args:
        sequence: `(elements,)` symbols from 0, or `(elements, features)` numbers; or the path of an `.npy` file of
            such, which is mapped, not loaded. `None` takes 10,000 values of the Mackey-Glass series.
        targets: `(elements, …)`, or the path of an `.npy` file; `None` for the next element.
        document_starts: Elements that begin a document, in order; before them the state is forgotten.
        truncated_bptt_steps: Steps of a chunk: how far gradients flow back.
        batch_size: Parallel streams of each process.
        chunk_lengths: The law of the lengths, when they are random; by default all chunks are equally long.
        val_fraction: Fraction of the sequence to validate on, the one before the last.
        test_fraction: Fraction of the sequence to test on, the last.
        seed: Decides random lengths; `None` takes torch's global seed (`seed_everything`).

    Raises:
        ValueError: An argument is out of range, or a file or a sequence is not of this kind.
        TypeError: An argument is not a whole number.

    Example:
        >>> data = ChunkedSequenceDataModule(np.arange(100), truncated_bptt_steps=4, batch_size=2, val_fraction=0)
        >>> first, second = [chunk for chunk, _ in zip(data.train_dataloader(), range(2))]
        >>> first.inputs.tolist(), second.inputs.tolist(), second.start
        ([[0, 1, 2, 3], [44, 45, 46, 47]], [[4, 5, 6, 7], [48, 49, 50, 51]], 4)

    References:
        Ronald Williams and Jing Peng, "An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent Network
        Trajectories", 1990, https://doi.org/10.1162/neco.1990.2.4.490.
    """

    def __init__(
        self,
        sequence: str | NDArray[Any] | Tensor | None = None,
        *,
        targets: str | NDArray[Any] | Tensor | None = None,
        document_starts: Sequence[int] = (),
        truncated_bptt_steps: int = 64,
        batch_size: int = 32,
        chunk_lengths: ChunkLengths | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            truncated_bptt_steps=truncated_bptt_steps,
            batch_size=batch_size,
            chunk_lengths=chunk_lengths,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            seed=seed,
        )
        starts = np.asarray(document_starts, dtype=np.int64)
        check_rule(
            f"{type(self).__name__}(document_starts=…)",
            "document_starts must be elements of the sequence, from 0, in ascending order",
            holds=starts.ndim == 1 and bool((starts >= 0).all()) and bool((np.diff(starts) > 0).all()),
        )
        self.save_hyperparameters(ignore=["sequence", "targets", "document_starts", "chunk_lengths"])
        self.sequence = sequence
        self.targets = targets
        self.document_starts = starts

    @property
    def in_features(self) -> int:
        """Numbers at each step, or how many symbols there are; looks at the sequence."""
        return _width(self._inputs())

    @property
    def out_features(self) -> int:
        """Numbers to tell, or how many symbols there are to tell; looks at the sequence."""
        targets = self._targets()
        return _width(self._inputs() if targets is None else targets)

    def part(self, split: Split) -> Part:
        """A stretch of the sequence."""
        inputs, targets = self._inputs(), self._targets()
        if targets is not None:
            check_rule(
                f"{type(self).__name__}(targets=…)",
                f"targets must have as many elements as sequence, {len(inputs)}, not {len(targets)}",
                holds=len(targets) == len(inputs),
            )
        begin, end = self.bounds(split, len(inputs))
        return Part(inputs, begin, end, targets, self.document_starts)

    def _inputs(self) -> NDArray[Any]:
        if self.sequence is None:
            return mackey_glass(10_000)[:, None]
        array = self._array("sequence", self.sequence)
        check_rule(
            f"{type(self).__name__}(sequence=…)",
            "symbols must be whole numbers from 0; numbers are wanted as (elements, features)",
            holds=array.ndim > 1 or array.dtype.kind in "iu",
        )
        return array

    def _targets(self) -> NDArray[Any] | None:
        return None if self.targets is None else self._array("targets", self.targets)

    def _array(self, name: str, source: str | Path | NDArray[Any] | Tensor) -> NDArray[Any]:
        shown = f"{type(self).__name__}({name}={str(source) if isinstance(source, str | Path) else '…'!r})"
        if isinstance(source, str | Path):
            try:
                array = np.load(source, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise InputError(f"{shown}: not an .npy file of numbers that can be read ({error}).") from error
        else:
            array = np.asarray(source)
        numbers = isinstance(array, np.ndarray) and array.dtype.kind in "biuf" and array.ndim >= 1
        check_rule(shown, "an array of at least one dimension, of whole or real numbers, is wanted", holds=numbers)
        checked: NDArray[Any] = array
        return checked


def _width(array: NDArray[Any]) -> int:
    """Features of numbers; of symbols, how many there may be."""
    if array.ndim > 1:
        return int(array.shape[1])
    return 1 if array.dtype.kind == "f" else int(array.max()) + 1
