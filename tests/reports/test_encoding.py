"""Reports for outputs that know only some characters."""

import io
import sys

import pytest

from lightning_clip.reports.encoding import EncodableStream, encodable
from lightning_clip.reports.text import Report, output_console
from tests.reports.runs import COMPARISONS, EXPECTED, TEXTS

EVERY_TEXT = sorted({path.stem for path in EXPECTED.glob("*.txt")})


def limited(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode(stream.encoding)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "koi8-r"])
@pytest.mark.parametrize("name", EVERY_TEXT)
def test_every_report_can_be_encoded(name, encoding):
    """Every character of every report and comparison has a stand-in; no `?` is left in its place."""
    text = (EXPECTED / f"{name}.txt").read_text(encoding="utf-8")
    plain = encodable(text, encoding)
    plain.encode(encoding)
    assert plain.count("?") == text.count("?")
    assert len(plain.splitlines()) == len(text.splitlines())


def test_the_texts_are_those_that_people_see():
    """The reports looked at are all those that the other tests compare."""
    assert {*TEXTS, *(f"{name}-80" for name in COMPARISONS)} <= set(EVERY_TEXT)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", None])
def test_what_can_be_encoded_stays(encoding):
    """An output that knows every character gets every character."""
    assert encodable("σ max ███▏ → …", encoding) == "σ max ███▏ → …"


def test_only_what_is_lacking_is_replaced():
    """Western European outputs keep their dashes, ellipses and powers."""
    assert encodable("… R² – é → σ", "cp1252") == "… R² – é -> sigma"
    assert encodable("… R² – é → σ", "ascii") == "... R^2 - e -> sigma"


@pytest.mark.parametrize("encoding", ["ascii", "an unknown encoding"])
def test_other_characters_become_question_marks(encoding):
    """Letters lose their accents; what has no likeness in ASCII, and a broken file name, become `?`."""
    assert encodable("größe é 重み \udc80", encoding) == "gro?e e ?? ?"


@pytest.mark.parametrize(
    "lines",
    [
        ("gate      σ max      ρ   bound", "forget     1.20   0.91       1", "cell      30.20   0.91       1"),
        ("Layer               share", "… 4 more layers     0.1%  █", "all                  98%  ███"),
        ("weights    1.0 → 2.0    rising", "biases     1.0          steady"),
    ],
)
def test_columns_stay_in_line(lines):
    """A longer stand-in takes its room from the blanks beside it."""
    plain = [encodable(line, "ascii") for line in lines]
    assert [len(line) for line in plain] == [len(line) for line in lines]
    assert plain[0][-5:] == lines[0][-5:]
    assert all("  " in line for line in plain)


def test_an_indentation_stays():
    """The blanks at the start of a line are not taken."""
    assert encodable("     → raise it", "ascii") == "     -> raise it"
    assert encodable("│   → raise it    │", "ascii") == "|   -> raise it   |"


def test_what_has_nothing_at_its_right_keeps_its_place():
    """The value of a name begins where the values above and below it begin."""
    assert encodable("Reach     1%\nGrowth    R² 1.00 → 0.5", "ascii") == "Reach     1%\nGrowth    R^2 1.00 -> 0.5"


def test_colors_stay():
    """Terminal escapes pass unchanged."""
    assert encodable("\x1b[36m█\x1b[0m", "ascii") == "\x1b[36m#\x1b[0m"


def test_a_stream_writes_what_it_can():
    """The wrapped stream gets text that it can encode, and is itself in all other respects."""
    out = limited("ascii")
    stream = EncodableStream(out)
    stream.write("░█ σ")
    assert written(out) == ":# sigma"
    assert (stream.encoding, stream.isatty()) == ("ascii", False)
    assert EncodableStream(io.StringIO()).write("σ") == 1


def test_a_console_prints_a_report_where_it_can(monkeypatch):
    """Rich's own lines and ours are readable in ASCII."""
    out = limited("ascii")
    monkeypatch.setattr(sys, "stdout", out)
    output_console().print(Report("█ → σ max …"))
    assert written(out) == "# -> sigma max ...\n"


def test_a_program_without_output_prints_nothing(monkeypatch):
    """Windows programs without a terminal have no standard output."""
    monkeypatch.setattr(sys, "stdout", None)
    output_console().print("nobody reads this")


def test_print_shows_a_report_where_it_can(monkeypatch):
    """`print(report)` works in every encoding."""
    out = limited("latin-1")
    monkeypatch.setattr(sys, "stdout", out)
    out.write(str(Report("█ → …")))
    assert written(out) == "# -> ..."
