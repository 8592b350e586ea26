"""What people see, whole."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from lightning_clip.core import Event, History, RunInfo, StepRecord
from lightning_clip.core.record.step_record import ParamNorms
from lightning_clip.reports import render_report, to_text
from lightning_clip.sinks import JsonlSink, read_jsonl
from lightning_clip.studies.comparison import render_comparison
from tests.reports.runs import (
    COMPARISONS,
    EXPECTED,
    TEXTS,
    exploding,
    grows_through_time,
    healthy,
    overflows_through_time,
    recurrent,
)
from tests.reports.studied import result, study
from tests.support.fresh import run
from tests.support.recorded import history_of


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_at_width_100_is_the_expected_one(name: str):
    """At width 100, chart, numbers, words and layout are those in `expected/`."""
    assert TEXTS[name](100) + "\n" == (EXPECTED / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_at_width_80_is_the_expected_one(name: str):
    """At width 80, a comparison keeps everything that matters."""
    assert COMPARISONS[name](80) + "\n" == (EXPECTED / f"{name}-80.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_console(name: str, width: int):
    """At 80 and 120 columns every line fits, only names are cut with an ellipsis, and no line ends in spaces."""
    lines = TEXTS[name](width).split("\n")
    assert max(map(len, lines)) <= width
    assert not any(line.endswith(" ") for line in lines)
    assert not any(line.rstrip().endswith("…") for line in lines)


@pytest.mark.parametrize("name", TEXTS)
def test_the_chart_and_the_table_use_the_width(name: str):
    """The chart and the table fill a wider console."""
    assert max(map(len, TEXTS[name](120).split("\n"))) > 115


def test_nothing_is_said_by_colour_only():
    """Without color there is no escape sequence, and with `no_color` no color."""
    plain = to_text(render_report(*exploding()), width=80)
    assert "\x1b" not in plain
    colored = Console(width=80, force_terminal=True, _environ={})
    with colored.capture() as capture:
        colored.print(render_report(*exploding()))
    assert "\x1b[" in capture.get()
    no_color = Console(width=80, force_terminal=True, no_color=True, _environ={})
    with no_color.capture() as bare:
        no_color.print(render_report(*exploding()))
    assert "\x1b[3" not in bare.get()


def test_print_gives_the_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`print` shows the text of the report, not the name of an object."""
    monkeypatch.setattr("lightning_clip.reports.text.get_console", lambda: Console(width=90, _environ={}))
    print(render_report(*exploding()))
    assert capsys.readouterr().out == to_text(render_report(*exploding()), width=90) + "\n"


def test_the_file_alone_gives_the_same_report(tmp_path: Path):
    """A file of `JsonlSink` gives the same report, including the bad parameters."""
    for make in (healthy, exploding, recurrent, grows_through_time, overflows_through_time):
        history, run = make()
        run.seconds = None
        expected = to_text(render_report(history, run), width=100)
        sink = JsonlSink(tmp_path / f"{make.__name__}.jsonl")
        sink.open(run)
        sink.write([named(r, history) for r in history])
        for event in history.events:
            sink.event(event)
        for measurement in history.measurements:
            sink.measurement(measurement)
        sink.close(run, history.parameters)
        run, again = read_jsonl(sink.path)
        assert to_text(render_report(again, run), width=100) == expected


def named(entry: StepRecord, history: History) -> StepRecord:
    """The record as the sink is given it: with the parameters, which the history does not keep."""
    if history.aggregates[0].first_nonfinite != entry.step:
        return entry
    names = tuple(history.aggregates[0].first_bad_names)
    return replace(entry, params=ParamNorms(names, np.full(len(names), np.nan), np.zeros(len(names), dtype=bool)))


def test_a_run_without_a_step_says_so():
    """A run without steps says so, without a chart or a table."""
    assert "No optimizer step was recorded." in to_text(render_report(History(), RunInfo(model="M")), width=80)


def test_few_steps_are_not_called_healthy():
    """On three steps, the diagnosis does not claim that the run is healthy."""
    text = to_text(render_report(history_of([1.0, 1.1, 0.9]), RunInfo()), width=80)
    assert "Nothing unusual in these few steps." in text


def test_a_title_takes_the_place_of_the_model():
    """A title replaces the model in the heading, and the model moves into the list below."""
    history, run = exploding()
    lines = to_text(render_report(history, run, title="mlp, none, seed 3"), width=80).splitlines()
    assert lines[0].startswith("Gradient report: mlp, none, seed 3 ─")
    assert lines[1].split() == ["Model", "MLPRegressor"]


def test_markup_in_names_is_text():
    """Square brackets in names, messages and titles are printed, not interpreted."""
    history = history_of([1.0] * 3, shares={"net[bold].weight": 1.0})
    history.events.append(Event(1, "stop", "[/red] stopped [link]"))
    text = to_text(render_report(history, RunInfo("M[i]", "S[b]", "O[u]"), title="[t]"), width=80)
    for name in ("net[bold].weight", "[/red] stopped [link]", "M[i]", "S[b]", "O[u]", "report: [t]"):
        assert name in text


def test_the_latest_events_are_listed():
    """Of many events, the last eight are shown with the total number."""
    history = history_of([1.0] * 30)
    history.events.extend(Event(step, "switch", f"to {step}") for step in range(20))
    text = to_text(render_report(history, RunInfo()), width=80)
    assert "Events (the last 8 of 20)" in text
    assert "to 12" in text
    assert "to 11" not in text


def test_thirteen_parameters_are_all_listed():
    """Thirteen parameters are all listed, because a line that hides one would take the same room."""
    shares = {f"w{i}": 1 / 13 for i in range(13)}
    text = to_text(render_report(history_of([1.0] * 3, shares=shares), RunInfo()), width=80)
    assert "more" not in text
    shares["w13"] = 1 / 13
    text = to_text(render_report(history_of([1.0] * 3, shares=shares), RunInfo()), width=80)
    assert "… and 2 more" in text


def test_a_row_whose_every_run_diverged_shows_no_metric():
    """A row whose every run diverged says so under every metric, without nan, inf or none."""
    line = next(line for line in TEXTS["study"](120).splitlines() if line.startswith("  none "))
    assert line.count("diverged") == 2
    assert not any(word in line.lower() for word in ("nan", "inf", "null"))


def test_ranges_are_left_out_where_there_is_one_run():
    """With a single run per row there are no ranges."""
    text = to_text(render_comparison([result("a", 0, 2.0), result("b", 0, 3.0)]), width=100)
    assert "[" not in text
    assert "one seed does not show whether that is more than chance" in " ".join(text.split())


def test_a_comparison_of_nothing_says_so():
    """A comparison without runs says so and shows no table."""
    assert to_text(render_comparison([]), width=80).split("\n", 1)[1].strip() == "No run has finished."


def test_the_results_of_a_study_are_not_changed_by_showing_them():
    """Rendering the results of a study does not change them."""
    results = study()
    first = to_text(render_comparison(results), width=80)
    assert to_text(render_comparison(results), width=80) == first


def test_what_is_seen_loads_on_first_use(tmp_path: Path):
    """Importing the package loads no report, and no rich or matplotlib beyond what Lightning loads."""
    code = (
        "import json, sys, lightning.pytorch; before = set(sys.modules);"
        "import lightning_clip, lightning_clip.reports, lightning_clip.sinks;"
        "heavy = ('matplotlib', 'rich', 'lightning_clip.reports.');"
        "print(json.dumps([m for m in set(sys.modules) - before if m.startswith(heavy)]))"
    )
    done = run(["-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_an_unknown_name_is_an_attribute_error():
    """An unknown name raises an AttributeError, as in any module."""
    import lightning_clip.reports as reports

    with pytest.raises(AttributeError, match="has no attribute 'render_poster'"):
        _ = reports.render_poster
    assert all(getattr(reports, name) is not None for name in reports.__all__)
