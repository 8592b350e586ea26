"""`Utf8Text`: the characters of a text that is never decoded as a whole."""

import hashlib
import random
import tracemalloc

import numpy as np
import pytest

from lightning_clip.datamodules.streams import utf8_text
from lightning_clip.datamodules.streams.utf8_text import Utf8Text

ALPHABETS = ["ab \n", "aé", "漢字かな", "a\u0301😀é漢\0", "\ufeffx"]


def random_text(alphabet, length, seed=0):
    return "".join(random.Random(seed).choices(alphabet, k=length))


def as_text(codes):
    return "".join(map(chr, codes))


@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize("length", [1, 500, 5000])
@pytest.mark.parametrize("in_file", [True, False])
def test_slices_are_those_of_the_string(tmp_path, alphabet, length, in_file):
    """Slices equal those of the string, also where blocks of bytes end within a character."""
    string = random_text(alphabet, length)
    (tmp_path / "text").write_bytes(string.encode())
    text = Utf8Text(tmp_path / "text" if in_file else string.encode())
    assert len(text) == length
    assert as_text(text[0:length]) == string
    assert as_text(text[:]) == string
    rng = random.Random(1)
    for _ in range(200):
        begin = rng.randrange(length)
        end = min(length, begin + rng.choice([1, 2, 65, 1025, 4000]))
        assert as_text(text[begin:end]) == string[begin:end]
    assert text[3:3].size == text[length : length + 5].size == 0


@pytest.mark.parametrize("read", [1, 2, 3])
def test_pieces_may_end_inside_a_character(monkeypatch, read):
    """Counts are right when pieces end within a character."""
    monkeypatch.setattr(utf8_text, "_READ", read * utf8_text._BLOCK)
    string = random_text("a漢😀é", 5000)
    text = Utf8Text(string.encode())
    assert {chr(code): int(text.counts[code]) for code in np.flatnonzero(text.counts)} == {
        char: string.count(char) for char in "a漢😀é"
    }
    assert as_text(text[:]) == string


def test_the_hash_is_that_of_the_bytes():
    """The hash is that of the bytes, as from `sha256sum`."""
    octets = random_text("aé", 3_000_000).encode()
    assert Utf8Text(octets).sha256 == hashlib.sha256(octets).hexdigest()


@pytest.mark.parametrize(
    ("octets", "where"),
    [
        (b"abc\xffdef", "byte 3"),
        (b"a" * 5000 + b"\xc3(", "byte 5,000"),
        ("é".encode() * 1_000_000 + b"\xed\xa0\x80", "byte 2,000,000"),
        (b"abc\xc3", "byte 3"),
        (b"x" * (1 << 20) + b"\x80abc", "byte 1,048,576"),
    ],
)
def test_other_bytes_are_refused(octets, where):
    """Bytes that are not UTF-8 raise an error with their position."""
    with pytest.raises(ValueError, match=f"^not UTF-8 at {where}: "):
        Utf8Text(octets)


def test_a_large_file_is_not_loaded(tmp_path):
    """Counting and slicing 200 MB takes less than 30 MB of memory."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(200_000_000)
        file.seek(150_000_000)
        file.write("grün".encode())
    tracemalloc.start()
    try:
        text = Utf8Text(path)
        assert as_text(text[149_999_999:150_000_005]) == "\0grün\0"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(text) == 199_999_999
    assert peak < 30e6


def test_an_empty_text():
    """An empty text has length 0."""
    assert len(Utf8Text(b"")) == 0
