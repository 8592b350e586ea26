"""The chart, character by character."""

import math

import pytest

from lightning_clip.reports.sections.chart import BAD, LIMIT, SHADED, SOLID, SWITCH, Chart, draw_chart


def rows(chart: Chart) -> list[str]:
    return ["".join(text for text, _ in line) for line in chart.lines]


def columns(chart: Chart) -> list[str]:
    """What stands above the axis, column by column, from the bottom."""
    *above, axis, _ = rows(chart)
    start = axis.index("└") + 1
    return ["".join(reversed(column)) for column in zip(*(line[start:] for line in above), strict=True)]


HALVES = {"▄": 0, "▀": 1, SOLID: 1}


def heights(chart: Chart) -> list[int | None]:
    """The half line in which the norm of each column lies, from the bottom; `None` without a norm."""
    return [
        max((2 * row + HALVES[character] for row, character in enumerate(column) if character in HALVES), default=None)
        for column in columns(chart)
    ]


def test_higher_norms_stand_higher():
    """The line is at the logarithm of the norm."""
    found = heights(draw_chart([1, 10, 100], [1, 10, 100], steps=3, width=8))
    assert found == sorted(found)
    assert found[0] < 2
    assert found[-1] == 15


def test_the_line_has_no_gaps():
    """Where the norm jumps, the line reaches down to its lower neighbor; a fall by half a line leaves no gap."""
    chart = draw_chart([1.0, 100.0, 80.0], [1.0, 100.0, 80.0], steps=3, width=8)
    first, second, third = columns(chart)
    assert second == "▀" + SOLID * 7  # from above the half line of its neighbor
    assert first.strip() == "▄"
    assert len(third.strip()) == 1


def test_what_clipping_cut_off_is_shaded():
    """The part between the norm and what clipping left is shaded, and nothing below it is."""
    chart = draw_chart([100.0] * 4, [1.0] * 4, steps=4, width=40)
    drawn = [column for column in columns(chart) if column.strip()]
    assert set(drawn) == {" " + SHADED * 6 + "▀"}
    assert (chart.has_cut, chart.has_uncut) == (True, False)
    assert not chart.has_threshold
    untouched = draw_chart([100.0] * 4, [100.0] * 4, steps=4, width=40)
    assert (untouched.has_cut, untouched.has_uncut) == (False, True)
    both = draw_chart([1.0, 100.0], [1.0, 1.0], steps=2, width=40)
    assert (both.has_cut, both.has_uncut) == (True, True)


def test_a_run_that_is_always_clipped_is_no_wall():
    """Line, shading and threshold are apart, and what lies below the threshold is empty."""
    chart = draw_chart([40.0, 80.0] * 20, [5.0] * 40, steps=40, width=50, thresholds=[5.0] * 40)
    assert chart.has_threshold
    for column in columns(chart):
        below, _, above = column.partition(LIMIT)
        assert below.strip() == ""
        assert set(above.strip()) <= {SHADED, "▄", "▀"}


def test_a_threshold_outside_the_scale_is_not_drawn():
    """A limit of a million says nothing about norms around 1, and an unknown one is not drawn either."""
    for thresholds in ([1e6] * 4, [math.nan] * 4):
        assert not draw_chart([1.0] * 4, [1.0] * 4, steps=4, width=40, thresholds=thresholds).has_threshold
    half = draw_chart([1.0] * 4, [1.0] * 4, steps=4, width=40, thresholds=[math.nan, math.nan, 2.0, 2.0])
    drawn = [LIMIT in column for column in columns(half)]
    assert drawn == sorted(drawn)
    assert 10 < sum(drawn) < 30


def test_few_steps_are_set_apart_and_many_share_a_column():
    """Three steps are three strokes, and of 1,000 steps each column shows its largest norm."""
    lines = rows(draw_chart([5, 5, 5], [5, 5, 5], steps=3, width=34))
    assert [len(line.split("│")[-1].split("┤")[-1].split()) for line in lines[:8]].count(3) == 1
    spike = [1.0] * 1000
    spike[500] = 100.0
    chart = draw_chart(spike, spike, steps=1000, width=60)
    assert sum(height == 15 for height in heights(chart)) == 1
    assert chart.steps_per_column == round(1000 / len(columns(chart)))


def test_a_norm_that_is_not_finite_is_marked_at_the_top():
    """A NaN or infinite norm is marked at the top of its column."""
    chart = draw_chart([1.0, math.inf], [1.0, math.inf], steps=2, width=8)
    assert chart.has_bad
    assert [column[-1] == BAD for column in columns(chart)].count(True) >= 1
    assert columns(chart)[0][-1] != BAD
    assert {height for height, column in zip(heights(chart), columns(chart), strict=True) if column[-1] == BAD} == {
        None
    }


def test_a_bad_step_does_not_hide_the_good_ones_of_its_column():
    """A column with a bad step still shows its largest finite norm, unless that is the largest of all."""
    norms = [10.0, 1.0, math.inf, 1.0] * 100
    norms[:8] = [1000.0] * 8
    chart = draw_chart(norms, norms, steps=400, width=20)
    assert all(column[-1] == BAD for column in columns(chart)[1:])
    assert None not in heights(chart)[1:]


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
    assert len(set(heights(draw_chart([1.0, 1.1] * 20, [1.0, 1.1] * 20, steps=40, width=60)))) <= 2


def test_switches_are_marked_on_the_axis():
    """Switches are marked on the axis, at the start, in the middle and at the end."""
    axis = rows(draw_chart([1.0] * 10, [1.0] * 10, steps=10, width=40, switches=[0.0, 0.5, 1.0]))[-2]
    marks = [i for i, character in enumerate(axis.partition("└")[2]) if character == SWITCH]
    width = len(axis.partition("└")[2])
    assert marks == [0, width // 2, width - 1]


def test_a_skipped_step_is_shaded_to_the_ground():
    """Nothing of it is left, because its norm after clipping is zero."""
    chart = draw_chart([10.0, 10.0], [0.0, 10.0], steps=2, width=10)
    assert set(columns(chart)[0].strip()[:-1]) == {SHADED}
    assert columns(chart)[0][0] == SHADED
    assert SHADED not in columns(chart)[-1]


def test_a_scale_has_two_numbers_at_least():
    """A single number is no scale."""
    for norms in ([10.0, 14.0], [0.3, 0.9], [96.0, 99.0], [5.1, 5.2]):
        lines = rows(draw_chart(norms, norms, steps=2, width=40))
        assert sum("┤" in line for line in lines) >= 2


@pytest.mark.parametrize("norms", [[0.0, 0.0], [math.inf]])
def test_without_a_positive_norm_there_are_no_labels(norms: list[float]):
    """Without a positive norm, the axis has no labels."""
    assert not any("┤" in line for line in rows(draw_chart(norms, norms, steps=len(norms), width=30)))


@pytest.mark.parametrize("width", [4, 10, 80, 300])
def test_every_line_is_within_the_width(width: int):
    """Every line fits the width, even where there is hardly room for the labels."""
    chart = draw_chart([1.0, 1e6], [1.0, 1.0], steps=5000, width=max(width, 12))
    assert max(map(len, rows(chart))) <= max(width, 12)
