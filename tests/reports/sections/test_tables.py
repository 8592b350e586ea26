"""`fitted`, and the tables that use it: nothing is left out without a word."""

import pytest
from rich.console import Console
from rich.table import Table

from lightning_clip.core import RunInfo
from lightning_clip.reports import RunRecord, render_report, to_text
from lightning_clip.reports.formats import shorten_all
from lightning_clip.reports.sections.tables import fitted, headline
from tests.reports.runs import TEXTS, bad_batch, recurrent
from tests.support.recorded import history_of

HEADINGS = ["name", "first", "second", "", "third"]


def shown(width, **options):
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, no_wrap=True)
    table.add_row("a", "1", "2", "#####", "3")
    console = Console(width=width, _environ={})
    with console.capture() as capture:
        for part in fitted(console, console.options, table, **options):
            console.print(part)
    return [line.rstrip() for line in capture.get().splitlines() if line.strip()]


def test_a_table_that_fits_is_whole():
    """There is no note."""
    assert [line.split() for line in shown(60)] == [["name", "first", "second", "third"], ["a", "1", "2", "#####", "3"]]


def test_a_bar_goes_first_and_without_a_note():
    """A column without a heading holds what the next one says in numbers."""
    assert shown(30) == ["  name  first  second  third", "  a     1      2       3"]


@pytest.mark.parametrize(
    ("options", "left"),
    [({}, ["name", "first", "second"]), ({"drop": ("first",)}, ["name", "second", "third"])],
)
def test_what_is_hidden_is_named(options, left):
    """The columns at the right go, unless others are less important; the first one stays."""
    heading, _, *note = shown(25, **options)
    assert heading.split() == left
    (gone,) = {"first", "second", "third"} - set(left)
    assert " ".join(" ".join(note).split()) == f"Hidden at this width: {gone}"
    assert shown(8)[0].split() == ["name"]


@pytest.mark.parametrize("width", [40, 48, 60])
def test_on_a_narrow_console_every_missing_column_is_named(width):
    """Whatever heading a wide report has is in a narrow one, in a table or in a note; no number is cut."""
    for make in (bad_batch, recurrent):
        text = to_text(render_report(*make()), width=width)
        for heading in ("elements", "median", "share", "clipped", "loss", "P99"):
            assert heading in text.replace(",", "").split(), (heading, width)
        table = text[text.index("Norm by parameter") : text.index("╭")]
        assert "…" not in "".join(word for word in table.split() if word[:1].isdigit())


def test_runs_that_do_not_fit_side_by_side_are_named():
    """Of eight runs at width 60, those without room are named."""
    records = [RunRecord(RunInfo(model="M", seconds=1.0), history_of([1.0 + k] * 30)) for k in range(8)]
    names = [f"run-number-{k}" for k in range(8)]
    text = to_text(records[0].compare(*records[1:], names=names).report(), width=60)
    _, _, note = text.partition("Hidden at this width: ")
    assert "run-number-7" in note.partition("No run")[0]
    heading = next(line for line in text.splitlines() if line.split()[:2] == names[:2])
    assert len(heading) <= 60
    assert {*heading.split(), *note.replace(",", "").split()} >= set(names)


@pytest.mark.parametrize("width", [8, 12, 20, 30])
def test_short_names_are_never_the_same(width):
    """Not even of names that differ in the middle only."""
    names = [f"encoder.layers.{k}.{part}.attention.out_proj.weight" for k in range(12) for part in ("self", "cross")]
    short = shorten_all(names, width)
    assert len(set(short)) == len(names)
    assert max(map(len, short)) <= width


def many(count: int) -> RunRecord:
    shares = {f"body.{k // 4}.layer{k % 4}.weight": 1 / count for k in range(count)}
    return RunRecord(RunInfo(numels=dict.fromkeys(shares, 10)), history_of([1.0] * 30, shares=shares))


def test_many_parameters_are_summed_by_module():
    """As deep as gives a dozen modules; few parameters need no such table."""
    text = to_text(many(40).report(), width=100)
    table = text[text.index("Norm by module") : text.index("Norm by parameter")]
    assert [line.split()[:4] for line in table.splitlines()[2:12]] == [
        [f"body.{k}", "4", "40", "10%"] for k in range(10)
    ]
    assert "Norm by module" not in to_text(many(20).report(), width=100)
    assert "<td>body.3</td><td>4</td><td>40</td><td>10%</td>" in many(40).to_html()


def test_the_number_of_parameters_can_be_chosen():
    """In the report and on the page."""
    record = many(40)
    assert to_text(record.report(max_parameters=40), width=100).count(".weight") == 40
    assert "… and 37 more" in to_text(record.report(max_parameters=3), width=100)
    assert record.to_html(max_parameters=3).split("<details>")[0].count(".weight</td>") == 3
    with pytest.raises(ValueError, match=r"report\(max_parameters=0\)"):
        record.report(max_parameters=0)


def test_wide_reports_hide_nothing():
    """At 80 columns there is room for everything."""
    assert not [name for name, text in TEXTS.items() if "Hidden at this width" in text(80)]


def test_names_keep_as_much_of_a_shared_beginning_as_fits():
    """Names that are all the same, as in a column of largest gradients, are not cut to their last part."""
    assert shorten_all(["layers.0.weight"] * 2, 14) == ["…0.weight"] * 2
    assert shorten_all(["a.layers.0.weight", "a.layers.1.weight"], 16) == ["…layers.0.weight", "…layers.1.weight"]


def test_a_headline_that_wraps_stays_indented():
    """Every line of it begins below the first, at the same place."""
    lines = to_text(headline("Total norm of the gradients (log scale)"), width=24).rstrip().splitlines()
    assert lines == ["  Total norm of the", "  gradients (log scale)"]
