"""`read_jsonl` on files that are cut short, malformed or no records, and `JsonlSink` used wrongly."""

import json
from pathlib import Path

import pytest

from lightning_clip.sinks import JsonlSink, read_jsonl
from tests.support.jsonl_records import records, write

pytestmark = pytest.mark.usefixtures("each_parser")


def test_an_incomplete_last_line_is_ignored_and_removed_on_resume(tmp_path: Path):
    """A crash in the middle of a line loses only that line, and the run can continue in the same file."""
    path = tmp_path / "run.jsonl"
    write(path, records(0, 20))
    whole = path.read_bytes()
    torn = whole[: whole.rindex(b'{"totals"')][:-30]
    path.write_bytes(torn)
    assert read_jsonl(path)[1].aggregates[0].steps == 19
    write(path, records(19, 25))
    assert read_jsonl(path)[1].aggregates[0].steps == 25


def test_a_complete_last_line_without_newline_counts(tmp_path: Path):
    """A file without its last newline loses no step."""
    path = tmp_path / "run.jsonl"
    write(path, records(0, 20))
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert read_jsonl(path)[1].parameters.names == ["w", "b"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", r"line 3: expected one JSON object, found ''"),
        ('{"step": 1, "optim', r"line 3: expected one JSON object, found '{\"step\": 1, \"optim'"),
        (
            "[1, 2]",
            r"line 3: expected an object that begins with 'step' or 'run' or 'event' or 'measurement' or 'totals'",
        ),
        ('{"epoch": 3}', r"line 3: expected an object that begins with 'step'"),
        ('{"step": 1, "optimizer": 0}', r"line 3: expected the key 'strategy'"),
        ('{"event": {"step": 1, "kind": "stop", "message": 5, "data": {}}}', r"line 3: expected kind or message to be"),
        (
            '{"measurement": {"step": 1, "kind": "flow", "data": {"norms": [1, null]}}}',
            r"line 3: expected norms to be num",
        ),
        ('{"measurement": {"step": 1, "kind": 2, "data": {}}}', r"line 3: expected kind to be a string, found 2"),
        ('{"run": {"model": "M"}}', r"line 3: expected the key 'numels'"),
        (
            '{"totals": {"seconds": "long", "layers": {}}}',
            r"line 3: expected seconds to be a number or null, found 'long'",
        ),
    ],
)
def test_a_malformed_line_raises_one_clear_error(tmp_path: Path, line: str, message: str):
    """The error names the file, the line and what was expected."""
    path = tmp_path / "run.jsonl"
    write(path, records(0, 5))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[2:]]) + "\n")
    with pytest.raises(ValueError, match=r"run\.jsonl: " + message):
        read_jsonl(path)


@pytest.fixture(scope="module")
def three_thousand(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of a record of 3,000 steps."""
    path = tmp_path_factory.mktemp("lines") / "run.jsonl"
    write(path, records(0, 3000))
    return path.read_text().splitlines()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("step", 1.5, "step to be a whole number, found 1.5"),
        ("step", True, "step to be a whole number, found True"),
        ("norm_before", "large", "norm_before to be a number, found 'large'"),
        ("norm_after", None, "norm_after to be a number, found None"),
        ("loss", [], r"loss to be a number or null, found \[\]"),
        ("clipped", 1, "clipped to be true or false, found 1"),
        ("strategy", None, "strategy to be a string, found None"),
    ],
)
def test_a_bad_value_of_a_step_raises_one_clear_error(
    tmp_path: Path, three_thousand: list[str], key: str, value: object, message: str
):
    """The error names the line, the field and the value, wherever it is in the file."""
    path, lines = tmp_path / "run.jsonl", [*three_thousand]
    lines[2500] = json.dumps(json.loads(lines[2500]) | {key: value})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=f"run.jsonl: line 2501: expected {message}"):
        read_jsonl(path)


def test_a_file_without_a_run_is_rejected(tmp_path: Path):
    """An empty file and one that begins with a step are no records."""
    path = tmp_path / "run.jsonl"
    path.write_text("")
    with pytest.raises(
        ValueError, match=r"line 1: expected an object that begins with 'run', found the end of the file"
    ):
        read_jsonl(path)
    path.write_text('{"step": 0}\n')
    with pytest.raises(ValueError, match="line 1: expected an object that begins with 'run'"):
        read_jsonl(path)


def test_writing_before_opening_is_rejected(tmp_path: Path):
    """The error says what to call first."""
    with pytest.raises(ValueError, match=r"JsonlSink\(.*run.jsonl'\) is not open: call open\(run\) first"):
        JsonlSink(tmp_path / "run.jsonl").write(records(0, 1))
