"""`Utf8Text`: the characters of a UTF-8 text of any size, decoded on demand."""

import codecs
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CODE_POINTS = 0x110000
_BLOCK = 1024
_READ = 1024 * _BLOCK


class Utf8Text:
    """A text that is sliced by characters instead of bytes, and never decoded as a whole.

    It is read once, one megabyte at a time, to count its characters. Only the number of characters before every
    1,024th byte is kept, which takes 0.8% of the size of the text. A slice decodes the bytes it needs.

    Args:
        source: The text as bytes in memory, or the path of a file, which must not change while in use.

    Attributes:
        sha256: SHA-256 hash of the bytes, in hexadecimal.
        counts: `(code points,)`, how often each code point occurs, up to the largest one in the text.

    Raises:
        ValueError: The bytes are not UTF-8.

    Example:
        >>> text = Utf8Text("naïve café".encode())
        >>> len(text), "".join(map(chr, text[2:6])), int(text.counts[ord("é")])
        (10, 'ïve ', 1)
    """

    def __init__(self, source: bytes | Path) -> None:
        self._source = source
        digest, self.counts = hashlib.sha256(), np.zeros(_CODE_POINTS, dtype=np.int64)
        starts: list[NDArray[np.int64]] = []
        decoder = codecs.getincrementaldecoder("utf-8")()
        for begin, part, is_last in self._parts():
            digest.update(part.data)
            starts.append(_starts_per_block(part))
            try:
                self._count(part, decoder, is_last=is_last)
            except UnicodeDecodeError as error:
                where = begin + error.start - len(decoder.getstate()[0])
                raise ValueError(f"not UTF-8 at byte {where:,}: {error.reason}") from error
        self.counts = self.counts[: int(np.flatnonzero(self.counts).max(initial=-1)) + 1].copy()
        self.sha256 = digest.hexdigest()
        self._starts_before = np.concatenate([[0], *starts]).cumsum()

    def __len__(self) -> int:
        return int(self._starts_before[-1])

    def __getitem__(self, part: slice) -> NDArray[np.uint32]:
        begin, end, _ = part.indices(len(self))
        if begin >= end:
            return np.zeros(0, dtype=np.uint32)
        first, last = np.searchsorted(self._starts_before, (begin, end - 1), side="right") - 1
        # A character has at most four bytes, so the last one ends within the first three bytes of the next block.
        octets = self._octets(int(first) * _BLOCK, (int(last) + 1) * _BLOCK + 3)
        starts = np.append(np.flatnonzero(_is_start(octets)), len(octets))
        before = int(self._starts_before[first])
        return _code_points(octets[starts[begin - before] : starts[end - before]].tobytes().decode())

    def _parts(self) -> Iterator[tuple[int, NDArray[np.uint8], bool]]:
        """The text in pieces: the offset of each, its bytes, and whether it is the last."""
        size = len(self._source) if isinstance(self._source, bytes) else self._source.stat().st_size
        for begin in range(0, size, _READ):
            yield begin, self._octets(begin, begin + _READ), begin + _READ >= size

    def _octets(self, begin: int, end: int) -> NDArray[np.uint8]:
        if isinstance(self._source, bytes):
            return np.frombuffer(self._source, dtype=np.uint8)[begin:end]
        return np.fromfile(self._source, dtype=np.uint8, count=end - begin, offset=begin)

    def _count(self, part: NDArray[np.uint8], decoder: codecs.IncrementalDecoder, *, is_last: bool) -> None:
        """Count the characters of a piece. A character that is split across pieces counts in the next one."""
        waiting = decoder.getstate()[0]
        if not waiting and part.max() < 0x80:
            self.counts[:0x80] += np.bincount(part, minlength=0x80)
            return
        found = np.bincount(_code_points(decoder.decode(part.tobytes(), is_last)))
        self.counts[: len(found)] += found


def _is_start(octets: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """True where a character starts: at every byte except 10xxxxxx."""
    starts: NDArray[np.bool_] = (octets & 0xC0) != 0x80
    return starts


def _starts_per_block(octets: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number of characters that start in each block."""
    starts = _is_start(octets)
    starts.resize(-(-len(octets) // _BLOCK), _BLOCK)
    counts: NDArray[np.int64] = np.count_nonzero(starts, axis=1)
    return counts


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
