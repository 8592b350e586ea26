"""`pivot` and `PivotTable`: the standings of a study by the values of an axis."""

import re

import pytest

from lightning_clip.reports import to_text
from lightning_clip.studies.comparison.metrics import main_metric, metric_names
from lightning_clip.studies.comparison.pivot import pivot
from lightning_clip.studies.comparison.pivot_table import PivotTable
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.comparison.standings import standings
from tests.reports.studied import grid, lengths, rates, result, study, tasks

RATES = ["1e-05", "3e-05", "0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1"]


def table(results: list[RunResult], *, width: int = 80) -> str:
    by_axis = pivot(standings(results))
    assert by_axis is not None
    return to_text(PivotTable(by_axis, main_metric(metric_names(results))), width=width)


def test_numbers_are_sorted_and_words_are_not():
    """Words keep the order of the study."""
    runs = [result("a", 0, 1.0, length=length) for length in (200, 50, 100)]
    by_axis = pivot(standings(runs))
    assert (by_axis.axis, by_axis.values, by_axis.is_numeric) == ("length", (50, 100, 200), True)
    by_task = pivot(standings(tasks()))
    assert (by_task.values, by_task.is_numeric) == (("order", "digits"), False)


def test_without_a_second_value_there_is_no_pivot():
    """An axis with a single value does not count."""
    assert pivot(standings(study())) is None
    assert pivot(standings([result("a", 0, 1.0, length=50)])) is None


def test_the_axis_that_varies_most_has_the_columns():
    """Other axes and models distinguish the rows; a numeric axis takes precedence."""
    runs = [
        result("a", 0, 1.0, task=task, lr=lr, size=size)
        for task in ("x", "y", "z", "w")
        for lr in (0.1, 0.2, 0.3)
        for size in (1, 2)
    ]
    by_axis = pivot(standings(runs))
    assert by_axis.axis == "lr"
    assert list(by_axis.rows)[:3] == ["a, task x, size 1", "a, task x, size 2", "a, task y, size 1"]
    assert list(pivot(standings(grid())).rows) == ["rnn, a", "rnn, b", "lstm, a", "lstm, b"]


def test_nine_rates_fit_in_80_columns():
    """They form a single block."""
    lines = table(rates()).split("\n")
    assert lines[0].split() == ["lr", *RATES]
    assert lines[3].split() == ["none", "4/5", "5/5", "3/5", *["0/5"] * 6]
    assert sum("lr" in line for line in lines) == 1
    assert [line for line in lines if line.startswith(" ") and not line.startswith("  ")][1:] == [
        " solved",
        " steps to solve, median",
        " diverged",
    ]


@pytest.mark.parametrize("width", [30, 45, 60])
def test_what_does_not_fit_goes_below(width):
    """In a narrow console, the columns form several blocks, and none is lost."""
    text = table(rates(), width=width)
    assert max(map(len, text.split("\n"))) <= width
    heads = [line.split()[1:] for line in text.split("\n") if line.startswith("  lr ")]
    assert len(heads) > 1
    assert [rate for head in heads for rate in head] == RATES


def test_what_was_not_tried_is_blank():
    """A missing value is neither 0 nor a dash."""
    last = table(lengths()).split("\n")[-1]
    assert last.split() == ["norm-1.0+omega-4", "5/5"]


def test_without_a_task_to_solve_the_main_metric_is_shown():
    """Each column shows what it has."""
    lines = table(tasks()).split("\n")
    assert lines[2] == " solved, or test error, median"
    assert lines[3].split() == ["rnn", "0/5", "*0.14"]
    assert lines[5].split() == ["lstm-forget-4.6", "5/5", "0.19"]


def test_a_cell_whose_every_run_diverged_has_a_cross():
    """The cross is explained below the table."""
    runs = [result("a", seed, 2.0, length=length) for length in (1, 2) for seed in range(2)]
    runs += [result("b", seed, None if length == 2 else 3.0, length=length) for length in (1, 2) for seed in range(2)]
    lines = table(runs).split("\n")
    assert [line.split() for line in lines[3:5]] == [["a", "*2", "*2"], ["b", "3", "×"]]
    assert lines[-1] == "  × every run diverged"


def test_colors_go_with_the_counts():
    """All solved is green, some is yellow, none is red."""
    text = to_text(PivotTable(pivot(standings(rates())), "test_error"), width=80, color=True)
    for color, cell in (("32", "5/5"), ("33", "3/5"), ("31", "0/5")):
        assert re.search(rf"\x1b\[{color}m *{cell}\x1b", text)
