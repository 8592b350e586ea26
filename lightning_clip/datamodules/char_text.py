"""`CharTextDataModule`: a text, character by character, read as parallel streams."""

import platform
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_clip._checks import check_count
from lightning_clip._errors import InputError
from lightning_clip.datamodules.streams.chunk_lengths import ChunkLengths
from lightning_clip.datamodules.streams.stream_data_module import Split, StreamDataModule
from lightning_clip.datamodules.streams.streams import Part
from lightning_clip.datamodules.streams.utf8_text import Utf8Text


class CharTextDataModule(StreamDataModule):
    """The next character of a text is to be told, at each character.

    The text is any UTF-8 file, of any size: it is read through once to count its characters, and then decoded where a
    chunk needs it. Without a file it is the English text inside Python itself, the topics of `help()`: 79 topics and
    465,000 characters in Python 3.11, other ones in other versions. So results on it are comparable within a version
    only; report `sha256` with them.

    The alphabet are the `n_symbols - 1` most frequent characters of the whole text; all others are symbol 0. The text
    is cut in the order train, validation, test. Neighbouring stretches may differ: of the built-in text the validation
    part is 0.25 bits per character harder than the test part.

    Args:
        path: A text file in UTF-8; `None` for the text inside Python.
        n_symbols: Size of the alphabet, the symbol for all other characters included.
        truncated_bptt_steps: Steps of a chunk: how far gradients flow back.
        batch_size: Parallel streams of each process.
        chunk_lengths: The law of the lengths, when they are random; by default all chunks are equally long.
        val_fraction: Fraction of the text to validate on, the one before the last.
        test_fraction: Fraction of the text to test on, the last.
        seed: Decides random lengths; `None` takes torch's global seed (`seed_everything`).

    Attributes:
        in_features: `n_symbols`.
        out_features: `n_symbols`.
        sha256: Hash of the text's bytes, in hexadecimal; after `setup`.
        alphabet: The character of each symbol but 0, in the order of the symbols from 1; after `setup`.
        n_characters: Characters of the whole text; after `setup`.

    Raises:
        ValueError: An argument is out of range, or there is no such text.
        TypeError: An argument is not a whole number.
        ModuleNotFoundError: At setup, if Python has been installed without its help texts.

    Example:
        >>> data = CharTextDataModule(truncated_bptt_steps=16, batch_size=4)
        >>> data.setup("fit")
        >>> chunk = next(iter(data.train_dataloader()))
        >>> chunk.inputs.shape, bool((chunk.inputs[:, 1:] == chunk.targets[:, :-1]).all())
        (torch.Size([4, 16]), True)
        >>> data.decode(chunk.inputs[0])
        'The "assert" sta'
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        n_symbols: int = 128,
        truncated_bptt_steps: int = 64,
        batch_size: int = 32,
        chunk_lengths: ChunkLengths | None = None,
        val_fraction: float = 0.05,
        test_fraction: float = 0.05,
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
        check_count(type(self).__name__, n_symbols=n_symbols, at_least=2)
        self.save_hyperparameters(ignore=["chunk_lengths"])
        self.path = path
        self.n_symbols = n_symbols
        self.in_features = self.out_features = n_symbols

    def setup(self, stage: str) -> None:
        """Read the text through, once.

        Args:
            stage: Not used; all stages need it.
        """
        if hasattr(self, "sha256"):
            return
        text = self._text()
        most_frequent = np.argsort(-text.counts, kind="stable")[: self.n_symbols - 1]
        kept = np.sort(most_frequent[text.counts[most_frequent] > 0])
        self.alphabet = "".join(map(chr, kept))
        self.n_characters = len(text)
        self.sha256 = text.sha256
        self._coded = _CodedText(text, kept)

    @property
    def description(self) -> str:
        """Which text it is: results on it can be compared with results on the same one only; reads the text."""
        self.setup("fit")
        source = f"the text inside Python {platform.python_version()}" if self.path is None else str(self.path)
        return f"{source}: {self.n_characters:,} characters, sha256 {self.sha256}"

    def part(self, split: Split) -> Part:
        """A stretch of the text."""
        begin, end = self.bounds(split, self.n_characters)
        return Part(self._coded, begin, end)

    def decode(self, symbols: Any) -> str:
        """The text that symbols stand for.

        Args:
            symbols: `(characters,)`, each in [0, n_symbols).

        Returns:
            Their characters, and U+FFFD for symbol 0.
        """
        return "".join(("\ufffd" + self.alphabet)[int(symbol)] for symbol in symbols)

    def _text(self) -> Utf8Text:
        name = type(self).__name__
        if self.path is None:
            try:
                from pydoc_data.topics import topics
            except ModuleNotFoundError as error:
                advice = "this Python has no pydoc_data; give the path of a text file"
                raise ModuleNotFoundError(f"{name}(path=None): {advice}.") from error
            return Utf8Text("\n\n".join(topics[key] for key in sorted(topics)).encode())
        try:
            return Utf8Text(Path(self.path))
        except (OSError, ValueError) as error:
            raise InputError(f"{name}(path={self.path!r}): a text file in UTF-8 is wanted ({error}).") from error


class _CodedText:
    """A text as the symbols of an alphabet.

    Args:
        text: The text.
        kept: `(symbols,)`, the code points that are symbols of their own, from 1.
    """

    def __init__(self, text: Utf8Text, kept: NDArray[np.int64]) -> None:
        self._text = text
        self._symbol_of = np.zeros(len(text.counts), dtype=np.uint16 if len(kept) < 2**16 else np.uint32)
        self._symbol_of[kept] = np.arange(1, len(kept) + 1)

    def __len__(self) -> int:
        return len(self._text)

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        symbols: NDArray[Any] = self._symbol_of[self._text[part]]
        return symbols
