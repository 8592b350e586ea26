"""`OneLineParser`: what an option is read as."""

from typing import Union

import pytest

from lightning_clip.cli.parser import OneLineParser


@pytest.mark.parametrize("kinds", [Union[float, int, None], Union[int, float, None], float | int], ids=str)  # noqa: UP007
def test_a_whole_number_stays_whole_whichever_type_was_written_first(kinds):
    """`typing` may give a signature the union of another one, with its types in another order."""
    inner = OneLineParser(exit_on_error=False)
    inner.add_argument("--limit", type=kinds, default=None if type(None) in kinds.__args__ else 3)
    parser = OneLineParser()
    parser.add_subcommands().add_subcommand("fit", inner)
    for text, expected in (("1", 1), ("1.0", 1.0), ("0.5", 0.5)):
        limit = parser.parse_args(["fit", "--limit", text]).fit.limit
        assert (limit, type(limit)) == (expected, type(expected))


def test_what_was_given_is_known_even_if_its_file_is_gone(tmp_path, monkeypatch, capsys):
    """Paths of the command line and of the files that it names are known, and no default; nothing is printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("record: runs/a.jsonl\n")
    words = ["--config=c.yaml", "--output=out"]
    OneLineParser.begin("compare", *words)
    parser = OneLineParser()
    parser.add_argument("--config", action="config")
    for name, default in (("record", "r.jsonl"), ("output", "o"), ("other", "unsaid.txt")):
        parser.add_argument(f"--{name}", default=default)
    parser.parse_args(words)
    paths = ("c.yaml", "out", "out/results.json", "runs/a.jsonl", "unsaid.txt")
    assert [path for path in paths if OneLineParser.names(path)] == [
        "c.yaml",
        "out",
        "out/results.json",
        "runs/a.jsonl",
    ]
    (tmp_path / "c.yaml").unlink()
    assert [path for path in paths if OneLineParser.names(path)] == [*paths[:-2]]
    assert capsys.readouterr() == ("", "")
