"""`CharTextDataModule`: a text, read character by character as parallel streams."""

import platform
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_clip._checks import check_count, check_path
from lightning_clip._errors import InputError
from lightning_clip.datamodules.streams.stream_data_module import Split, StreamDataModule
from lightning_clip.datamodules.streams.streams import Part
from lightning_clip.datamodules.streams.utf8_text import Utf8Text


class CharTextDataModule(StreamDataModule):
    """Predict the next character at every character of a text.

    The text is any UTF-8 file, of any size. It is read once to count its characters; chunks are decoded on demand.
    Without a file, the text is the English one that ships with Python, the topics of `help()`. Python 3.11 has 79
    topics with 465,000 characters; other versions differ, so report `sha256` with results and compare only results
    with the same one.

    The alphabet consists of the `n_symbols - 1` most frequent characters of the whole text; all others share symbol 0.
    The text is split into training, validation and test parts, in that order. The parts may differ in difficulty: in
    the built-in text, the validation part is 0.25 bits per character harder than the test part.

    Args:
        path: A text file in UTF-8; `None` for the text that ships with Python.
        n_symbols: Size of the alphabet, including the symbol shared by all other characters.
        val_fraction: Fraction of the text to validate on, just before the test part.
        test_fraction: Fraction of the text to test on, at its end.
        **options: The other options of `StreamDataModule`.

    Attributes:
        in_features: `n_symbols`.
        out_features: `n_symbols`.
        sha256: SHA-256 hash of the text's bytes, in hexadecimal; available after `setup`.
        alphabet: The characters of the symbols from 1 on, in order; available after `setup`.
        n_characters: Number of characters of the whole text; available after `setup`.

    Raises:
        ArgumentError: An argument is out of range.
        ArgumentTypeError: An argument is not a whole number.
        InputError: In `setup`, if the file cannot be read.
        ModuleNotFoundError: In `setup`, if Python was installed without its help texts.

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
        path: str | Path | None = None,
        *,
        n_symbols: int = 128,
        val_fraction: float = 0.05,
        test_fraction: float = 0.05,
        **options: Any,
    ) -> None:
        super().__init__(val_fraction=val_fraction, test_fraction=test_fraction, **options)
        check_count(type(self).__name__, n_symbols=n_symbols, at_least=2)
        if path is not None:
            check_path(type(self).__name__, path=path)
        self.path = path
        self.n_symbols = n_symbols
        self.in_features = self.out_features = n_symbols

    def setup(self, stage: str) -> None:
        """Read the text, once.

        Args:
            stage: Not used; all stages need the text.
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
        """The source, size and hash of the text, which results are only comparable within. Reads the text."""
        self.setup("fit")
        source = f"the text inside Python {platform.python_version()}" if self.path is None else str(self.path)
        return f"{source}: {self.n_characters:,} characters, sha256 {self.sha256}"

    def part(self, split: Split) -> Part:
        """One part of the text."""
        begin, end = self.bounds(split, self.n_characters)
        return Part(self._coded, begin, end)

    def decode(self, symbols: Any) -> str:
        """Convert symbols back to text.

        Args:
            symbols: `(characters,)`, each in [0, n_symbols).

        Returns:
            The characters of the symbols, with U+FFFD for symbol 0.
        """
        return "".join(("\ufffd" + self.alphabet)[int(symbol)] for symbol in symbols)

    def _text(self) -> Utf8Text:
        name = type(self).__name__
        if self.path is None:
            try:
                from pydoc_data.topics import topics
            except ModuleNotFoundError as error:
                advice = "this Python has no pydoc_data; set path to a text file"
                raise ModuleNotFoundError(f"{name}(path=None): {advice}.") from error
            return Utf8Text("\n\n".join(topics[key] for key in sorted(topics)).encode())
        try:
            return Utf8Text(Path(self.path))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"{name}(path={self.path!r}): not a readable UTF-8 text file ({reason}).") from error


class _CodedText:
    """A text, encoded as the symbols of an alphabet.

    Args:
        text: The text.
        kept: `(symbols,)`, the code points of symbols 1, 2, …; all others become symbol 0.
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
