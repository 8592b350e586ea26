"""`ChunkedSequenceDataModule`: one long sequence of numbers or symbols, read as parallel streams of chunks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lightning_clip._checks import check_rule
from lightning_clip._errors import InputError
from lightning_clip.datamodules.mackey_glass import mackey_glass
from lightning_clip.datamodules.streams.stream_data_module import Split, StreamDataModule
from lightning_clip.datamodules.streams.streams import Part


class ChunkedSequenceDataModule(StreamDataModule):
    """A long sequence, split into `batch_size` contiguous streams and read in consecutive chunks, for truncated BPTT.

    Row `i` of each chunk continues row `i` of the previous chunk, so a module that carries its state (`StatefulMixin`)
    sees each stream as one sequence. Each chunk marks the rows that start over: all of them at the start of an epoch,
    and single ones where a document starts. No element is dropped: the last chunk may be shorter, and steps that a
    shorter stream lacks are masked.

    By default, the target at each step is the next element. The last element of a document then has no target, because
    the next element belongs to another document.

    Args:
        sequence: Symbols `(elements,)`, counted from 0, or numbers `(elements, features)`; or the path of an `.npy`
            file of either, which is memory-mapped. `None` uses 10,000 values of the Mackey-Glass series.
        targets: `(elements, …)`, or the path of an `.npy` file; `None` for the next element.
        document_starts: Indices of the elements that start a document, in order; the state is reset before each.
        **options: The options of `StreamDataModule`.

    Raises:
        ArgumentError: An argument is out of range, or a sequence has the wrong shape or type.
        ArgumentTypeError: An argument is not a whole number.
        InputError: A file cannot be read.

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
        **options: Any,
    ) -> None:
        super().__init__(**options)
        starts = np.asarray(document_starts, dtype=np.int64)
        check_rule(
            f"{type(self).__name__}(document_starts=…)",
            "document_starts must be indices of elements, from 0, in ascending order",
            holds=starts.ndim == 1 and bool((starts >= 0).all()) and bool((np.diff(starts) > 0).all()),
        )
        self.sequence = sequence
        self.targets = targets
        self.document_starts = starts

    @property
    def in_features(self) -> int:
        """Number of inputs at each step, or of symbols. Reads the sequence."""
        return _width(self._inputs())

    @property
    def out_features(self) -> int:
        """Number of values to predict, or of symbols. Reads the targets."""
        targets = self._targets()
        return _width(self._inputs() if targets is None else targets)

    def part(self, split: Split) -> Part:
        """One part of the sequence."""
        inputs, targets = self._inputs(), self._targets()
        if targets is not None:
            check_rule(
                f"{type(self).__name__}(targets=…)",
                f"targets must have as many elements as sequence: {len(inputs)}, not {len(targets)}",
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
            "a sequence (elements,) must hold integer symbols; reshape numbers to (elements, features)",
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
                raise InputError(f"{shown}: not a readable .npy file of numbers ({error}).") from error
        else:
            array = np.asarray(source)
        numbers = isinstance(array, np.ndarray) and array.dtype.kind in "biuf" and array.ndim >= 1
        check_rule(shown, f"{name} must be an array of real numbers with at least one dimension", holds=numbers)
        checked: NDArray[Any] = array
        return checked


def _width(array: NDArray[Any]) -> int:
    """The number of features, or one more than the largest symbol."""
    if array.ndim > 1:
        return int(array.shape[1])
    return 1 if array.dtype.kind == "f" else int(array.max()) + 1
