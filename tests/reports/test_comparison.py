"""Several records side by side: where they part, their numbers, findings that came or went."""

import math

import pytest

from lightning_clip._errors import ArgumentError
from lightning_clip.core import History, RunInfo
from lightning_clip.reports import RunRecord, to_text
from lightning_clip.reports.comparison import Comparison, first_difference
from tests.support.recorded import history_of

CALM = [2.0 + math.sin(step) for step in range(60)]


def record_of(norms, **options):
    return RunRecord(RunInfo(model="M", seconds=1.0), history_of(norms, **options))


@pytest.mark.parametrize("step", [0, 1, 37, 59])
def test_the_first_step_that_differs_is_found(step):
    """One norm in one step is enough, however small the difference."""
    other = [*CALM]
    other[step] = math.nextafter(other[step], math.inf)
    found = first_difference(history_of(CALM), history_of(other))
    assert (found.first_step, found.last_step, found.optimizer) == (step, step, 0)
    assert found.what == "norm before clipping"
    assert found.values == (CALM[step], other[step])


def test_the_same_runs_do_not_differ():
    """Not even if one of them is longer, or both have a NaN at the same step."""
    bad = [*CALM[:10], math.nan, *CALM[10:]]
    assert first_difference(history_of(bad), history_of(bad)) is None
    assert first_difference(history_of(CALM), history_of(CALM[:40])) is None


def test_a_difference_before_the_window_is_found_by_its_stretch():
    """A history that keeps its last 20 steps only still knows the peaks of the whole run."""
    norms = [1.0 + step / 1000 for step in range(1000)]
    other = [*norms]
    other[300] = 5.0
    histories = []
    for values in (norms, other):
        history = History(window=20)
        for record in history_of(values):
            history.extend([record])
        histories.append(history)
    found = first_difference(*histories)
    assert found.first_step <= 300 <= found.last_step < 320
    assert found.values[1] == 5.0


def test_losses_and_clipping_are_compared_too():
    """The loss differs before the norm does."""
    assert first_difference(history_of(CALM, max_norm=1.0), history_of(CALM)).what == "norm after clipping"
    one, other = history_of(CALM), history_of(CALM)
    other.records[5].loss += 1.0
    found = first_difference(one, other)
    assert (found.first_step, found.what) == (5, "loss")


def test_numbers_and_findings_are_side_by_side():
    """Each finding says which of the runs have it."""
    comparison = record_of(CALM, max_norm=0.5).compare(record_of([*CALM[:40], math.nan, *CALM[40:]]))
    assert list(comparison.names) == ["A", "B"]
    assert comparison.numbers["steps"] == (60, 61)
    assert comparison.numbers["clipped fraction"] == (1.0, 0.0)
    assert comparison.numbers["NaN or infinite steps"] == (0, 1)
    assert ("The gradient is NaN at step 40", "–", "yes") in comparison.finding_rows()
    text = to_text(comparison.report(), width=100)
    assert "B: differs from A first at step 0: norm after clipping 2 instead of 0.5." in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_finding_that_both_runs_have_shows_the_numbers_of_each():
    """Not those of the first run for both."""
    comparison = record_of([*CALM[:40], math.nan, *CALM[40:]]).compare(record_of([*CALM[:50], math.nan, *CALM[50:]]))
    (row,) = [row for row in comparison.finding_rows() if "NaN" in row[0]]
    assert row == ("The gradient is NaN at step 40", "yes", "The gradient is NaN at step 50")
    assert [one.title for one in comparison.findings[0][1]] == [row[0], row[2]]
    assert "at step 50" in to_text(comparison.report(), width=100)


def test_three_runs_are_compared_with_the_first():
    """The names are those that were given."""
    comparison = record_of(CALM).compare(record_of(CALM), record_of(CALM[::-1]), names=["old", "again", "reversed"])
    assert comparison.differences[0] is None
    assert comparison.differences[1].first_step == 0
    text = str(comparison)
    assert "again: the same as old, bit for bit" in text
    assert "reversed: differs from old first at step 0" in text


@pytest.mark.parametrize("width", [50, 60, 80])
def test_a_narrow_terminal_shows_every_column(width):
    """No line is wider than the terminal, and no run is missing."""
    comparison = record_of(CALM).compare(record_of([*CALM, math.inf]), names=["a_long_name", "another"])
    lines = to_text(comparison.report(), width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum("…" in line for line in lines) == 0


def test_one_record_is_no_comparison():
    """The message quotes the call."""
    with pytest.raises(ArgumentError, match=r"RecordComparison\(names=\['A'\]\): a comparison needs two records"):
        record_of(CALM).compare()
    with pytest.raises(ArgumentError, match="each with a name"):
        Comparison(["only one"], [record_of(CALM).evidence, record_of(CALM).evidence])


def test_a_loss_that_one_run_lacks_is_no_difference():
    """Manual optimization records none; a NaN is one, and is called so."""
    one, other = history_of(CALM), history_of(CALM)
    other.records[5].loss = None
    assert first_difference(one, other) is None
    other.records[7].loss = math.nan
    comparison = RunRecord(RunInfo(), one).compare(RunRecord(RunInfo(), other))
    assert "at step 7: loss NaN instead of 0.935." in to_text(comparison.report())


@pytest.mark.parametrize(
    ("others", "names", "message"),
    [
        (["run.jsonl"], (), r"compare\(others=\['run.jsonl'\]\): each must be a RunRecord, not 'run.jsonl'"),
        ([record_of(CALM)], ["a"], r"\(names=\['a'\]\): a comparison needs two records or more, each with a name"),
        ([record_of(CALM)], ["a", "a"], r"\(names=\['a', 'a'\]\): every run needs a name of its own"),
        ([record_of(CALM)], ["a", 3], r"\(names=\['a', 3\]\): each must be a string, not 3"),
        ([record_of(CALM)], "ab", r"\(names='ab'\): names must be a list, each a string"),
    ],
)
def test_what_cannot_be_compared_is_refused(others, names, message):
    """The message quotes the argument and says what it should be."""
    with pytest.raises(ArgumentError, match=message):
        record_of(CALM).compare(*others, names=names)


def test_more_runs_than_letters_have_numbers():
    """The 27th run needs a name too."""
    run = record_of(CALM[:3])
    assert list(run.compare(*[run] * 26).names) == [str(number) for number in range(1, 28)]
