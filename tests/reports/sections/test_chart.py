"""The chart, character by character."""

import math

import pytest

from lightning_clip.reports.sections.chart import BAD, SHADED, SOLID, SWITCH, Chart, draw_chart


def rows(chart: Chart) -> list[str]:
    return ["".join(text for text, _ in line) for line in chart.lines]


def columns(chart: Chart) -> list[str]:
    """What stands above the axis, column by column, from the bottom."""
    *above, axis, _ = rows(chart)
    start = axis.index("└") + 1
    return ["".join(reversed(column)) for column in zip(*(line[start:] for line in above), strict=True)]


def test_higher_norms_stand_higher():
    """A column is filled up to the logarithm of its norm."""
    filled = [column.count(SOLID) for column in columns(draw_chart([1, 10, 100], [1, 10, 100], steps=3, width=8))]
    assert filled == sorted(filled)
    assert filled[0] < 2
    assert filled[-1] == 8


def test_what_clipping_cut_off_is_shaded():
    """The part that clipping cut off is shaded, and the rest is solid."""
    chart = draw_chart([100.0] * 4, [1.0] * 4, steps=4, width=40)
    shaded = [column for column in columns(chart) if column.strip()]
    assert all(set(column.lstrip("▁▂▃▄▅▆▇█")) == {SHADED} for column in shaded)
    assert chart.has_cut
    assert not draw_chart([100.0] * 4, [100.0] * 4, steps=4, width=40).has_cut


def test_few_steps_are_set_apart_and_many_share_a_column():
    """Three steps are three bars, and of 1,000 steps each column shows its largest norm."""
    axis_up = rows(draw_chart([5, 5, 5], [5, 5, 5], steps=3, width=34))[6]
    assert len(axis_up.split("│")[-1].split("┤")[-1].split()) == 3
    spike = [1.0] * 1000
    spike[500] = 100.0
    chart = draw_chart(spike, spike, steps=1000, width=60)
    assert sum(column.count(SOLID) == 8 for column in columns(chart)) == 1
    assert chart.steps_per_column == round(1000 / len(columns(chart)))


def test_a_norm_that_is_not_finite_is_marked_at_the_top():
    """A NaN or infinite norm is marked at the top of its column."""
    chart = draw_chart([1.0, math.inf], [1.0, math.inf], steps=2, width=8)
    assert chart.has_bad
    assert [column[-1] == BAD for column in columns(chart)].count(True) >= 1
    assert columns(chart)[0][-1] != BAD
    assert not any(SOLID in column for column in columns(chart) if column[-1] == BAD)


def test_a_bad_step_does_not_hide_the_good_ones_of_its_column():
    """A column with a bad step still shows its largest finite norm."""
    norms = [1.0, 10.0, math.inf, 10.0] * 100
    chart = draw_chart(norms, norms, steps=400, width=20)
    assert all(column[-1] == BAD and column[0] == SOLID for column in columns(chart))


@pytest.mark.parametrize(
    ("norms", "labels"),
    [
        ([1.0, 1000.0], ["1,000", "100", "10", "1"]),
        ([1e-3, 1e9], ["1e+08", "10,000", "1"]),
        ([3.0, 4.0], ["10", "5", "2", "1"]),
    ],
)
def test_the_scale_is_labelled_with_round_numbers(norms: list[float], labels: list[str]):
    """The axis has powers of ten over several decades, and 1-2-5 steps within a few."""
    lines = rows(draw_chart(norms, norms, steps=2, width=40))
    assert [line.split("┤")[0].strip() for line in lines if "┤" in line] == labels


def test_a_nearly_constant_norm_is_not_blown_up():
    """A norm that varies by a tenth stays within one of eight lines."""
    tops = {
        len(column.rstrip()) for column in columns(draw_chart([1.0, 1.1] * 20, [1.0, 1.1] * 20, steps=40, width=60))
    }
    assert len(tops) <= 2


def test_switches_are_marked_on_the_axis():
    """Switches are marked on the axis, at the start, in the middle and at the end."""
    axis = rows(draw_chart([1.0] * 10, [1.0] * 10, steps=10, width=40, switches=[0.0, 0.5, 1.0]))[-2]
    marks = [i for i, character in enumerate(axis.partition("└")[2]) if character == SWITCH]
    width = len(axis.partition("└")[2])
    assert marks == [0, width // 2, width - 1]


def test_a_skipped_step_has_nothing_solid():
    """A skipped step is all shaded, because its norm after clipping is zero."""
    chart = draw_chart([10.0, 10.0], [0.0, 10.0], steps=2, width=10)
    assert SOLID not in columns(chart)[0]
    assert SHADED in columns(chart)[0]


@pytest.mark.parametrize("norms", [[0.0, 0.0], [math.inf]])
def test_without_a_positive_norm_there_are_no_labels(norms: list[float]):
    """Without a positive norm, the axis has no labels."""
    assert not any("┤" in line for line in rows(draw_chart(norms, norms, steps=len(norms), width=30)))


@pytest.mark.parametrize("width", [4, 10, 80, 300])
def test_every_line_is_within_the_width(width: int):
    """Every line fits the width, even where there is hardly room for the labels."""
    chart = draw_chart([1.0, 1e6], [1.0, 1.0], steps=5000, width=max(width, 12))
    assert max(map(len, rows(chart))) <= max(width, 12)
