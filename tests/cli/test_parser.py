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
