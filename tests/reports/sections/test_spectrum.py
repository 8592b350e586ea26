"""What a report and a diagnosis say about recurrent weights and units."""

import math
from pathlib import Path

import pytest

from lightning_clip.core import History, Measurement, RunInfo
from lightning_clip.core.recurrent.spectrum import KIND
from lightning_clip.reports import Evidence, Severity, diagnose, render_report, to_text
from lightning_clip.reports.sections.tables import NamedTable
from lightning_clip.reports.spectrum_summary import Proof, halving_steps, summarize_spectrum
from lightning_clip.sinks import JsonlSink, read_jsonl
from tests.reports.runs import exploded_weights, gates
from tests.support.recorded import history_of
from tests.support.spectra import sample

ONE = ["rnn.weight_hh_l0"]


def history_with(*samples: Measurement) -> History:
    history = history_of([1.0] * 30)
    for one in samples:
        history.measurements.add(one)
    return history


def report(*samples: Measurement, width: int = 100) -> str:
    return to_text(render_report(history_with(*samples), RunInfo()), width=width)


def titles(*samples: Measurement) -> list[str]:
    return [finding.title for finding in diagnose(Evidence.of(history_with(*samples), RunInfo()))]


@pytest.mark.parametrize(
    ("cell", "sigma", "bound", "proof"),
    [
        ("tanh", 0.98, None, Proof.VANISHES),
        ("tanh", 0.995, None, Proof.NO_GROWTH),
        ("relu", 1.005, None, Proof.NO_GROWTH),
        ("relu", 1.02, None, Proof.MAY_EXPLODE),
        ("tanh", 100.0, None, Proof.MAY_EXPLODE),
        ("tanh", 100.1, None, Proof.EXPLODED),
        ("tanh", 3.9, 4.0, Proof.VANISHES),
        ("tanh", 0.5, math.nan, Proof.NO_BOUND),
        ("tanh", 500.0, math.nan, Proof.EXPLODED),
        ("gru", 0.5, None, Proof.NOTHING),
        ("gru", 300.0, None, Proof.EXPLODED),
        ("tanh", math.nan, None, Proof.NOT_FINITE),
    ],
)
def test_a_singular_value_proves_what_the_theory_says_and_no_more(
    cell: str, sigma: float, bound: float | None, proof: Proof
):
    """Below the bound it proves vanishing, at the bound no explosion, above it and for one gate nothing."""
    blocks = 3 if cell == "gru" else 1
    summary = summarize_spectrum(history_with(sample(0, cell, ONE, [sigma] * blocks, bound=bound)))
    assert summary is not None
    assert {block.proof for block in summary.blocks} == {proof}
    assert (summary.blocks[0].half_life is not None) == (proof is Proof.VANISHES)


def test_the_proven_half_life_is_that_of_the_bound():
    """The half-life is one step at σ = 0.5, and at σ = 2 behind a sigmoid."""
    assert halving_steps(0.0) == 0.0
    assert "halve in ≤ 1 steps" in report(sample(0, "tanh", ONE, [0.5]))
    assert "halve in ≤ 1 steps" in report(sample(0, "tanh", ONE, [2.0], bound=4.0))


def test_the_first_sample_is_compared_with_the_latest():
    """The first and the latest sample are compared; a new parameter has a dash for its first value."""
    text = report(*(sample(step, "tanh", ONE, [1.0 + step / 100]) for step in range(0, 900, 100)))
    assert "Recurrent weights (step 0 → step 800)" in text
    assert "1 → 9" in text
    text = report(sample(0, "tanh", ["other"], [1.0]), sample(10, "tanh", ONE, [1.5]))
    assert "– → 1.5" in text
    text = report(sample(7, "tanh", ONE, [1.5]))
    assert "Recurrent weights at step 7" in text
    assert "→ 1.5" not in text


def test_nothing_is_said_without_a_sample_and_nothing_breaks_on_an_odd_one():
    """Without samples nothing is said; an incomplete sample is shown as far as it goes."""
    assert "Recurrent weights" not in report()
    assert summarize_spectrum(History()) is None
    text = report(Measurement(3, KIND, {"weights": ["a", "b"], "gates": [""], "bounds": [1.0], "sigma_max": 2.0}))
    assert "Recurrent weights at step 3" in text
    assert titles(Measurement(3, KIND)) == []


def test_weights_that_are_not_finite_are_said_to_be():
    """The table shows a dash and says that the weights are NaN or infinite."""
    text = report(sample(0, "tanh", ONE, [math.nan]))
    assert "NaN or infinite" in text
    assert "nan" not in text.replace("NaN or infinite", "").lower().replace("dominan", "")


def test_exploded_weights_are_critical():
    """The finding gives the first value and names every exploded parameter."""
    names = ["rnn.weight_hh_l0", "rnn.weight_hh_l1"]
    history = history_with(sample(0, "tanh", names, [1.0, 1.1]), sample(50, "tanh", names, [120.0, 557.0]))
    found = diagnose(Evidence.of(history, RunInfo()))
    assert [finding.severity for finding in found] == [Severity.CRITICAL]
    assert found[0].title == "The recurrent weights exploded: σ max of rnn.weight_hh_l1 is 557"
    assert found[0].detail.startswith("It was 1.1 at step 0. rnn.weight_hh_l0 and rnn.weight_hh_l1: ")
    assert "GradientClipping(NormClip(1.0))" in found[0].remedy
    assert titles(sample(0, "tanh", names, [1.0, 99.0])) == []


def test_saturated_and_dead_units_are_warnings():
    """More than half of saturated states or a fifth of dead units in the latest sample is a warning."""
    before = sample(0, "tanh", ONE, [1.0], saturated_fraction=[0.9])
    assert titles(before) == ["90% of the states are saturated: beyond ±0.95"]
    assert titles(before, sample(1, "tanh", ONE, [1.0], saturated_fraction=[0.5])) == []
    dead = titles(sample(0, "relu", ONE, [1.0], dead_fraction=[0.21]))
    assert dead == ["21% of the recurrent ReLU units are dead: 0 at every step of every sequence"]
    assert titles(sample(0, "relu", ONE, [1.0], dead_fraction=[0.2])) == []


def test_denormal_gradients_are_a_matter_of_the_cpu():
    """More than 1% of denormals is a finding, and only if the weights are on the CPU."""
    history = history_with(sample(0, "tanh", ONE, [1.0], denormal=0.011))
    (finding,) = diagnose(Evidence.of(history, RunInfo()))
    assert finding.title.startswith("1.1% of a gradient is denormal")
    assert finding.remedy.startswith("torch.set_flush_denormal(True) before the fit")
    assert titles(sample(0, "tanh", ONE, [1.0], denormal=0.01)) == []
    assert titles(sample(0, "tanh", ONE, [1.0], denormal=0.5, device="cuda")) == []
    assert titles(sample(0, "tanh", ONE, [1.0], denormal=math.nan)) == []


def test_units_are_named_where_there_are_several():
    """Where there are several layers, the worst one is named."""
    two = ["rnn.weight_hh_l0", "rnn.weight_hh_l1"]
    assert "12% of the states of tanh units are beyond ±0.95\n" in report(
        sample(0, "tanh", ONE, [1.0], saturated_fraction=[0.12])
    )
    text = " ".join(report(sample(0, "tanh", two, [1.0, 1.0], saturated_fraction=[0.12, 0.3])).split())
    assert "30% of the states of tanh units are beyond ±0.95 in the worst layer, rnn.weight_hh_l1" in text


def test_the_file_alone_gives_the_same_report(tmp_path: Path):
    """Numbers, NaN and names survive a file, so the report is the same."""
    for make in (exploded_weights, gates):
        history, run = make()
        run.seconds = None
        sink = JsonlSink(tmp_path / f"{make.__name__}.jsonl")
        sink.open(run)
        sink.write(list(history))
        for one in history.measurements:
            sink.measurement(one)
        sink.close(run, history.parameters)
        again = read_jsonl(sink.path)
        assert to_text(render_report(again[1], again[0]), width=100) == to_text(render_report(history, run), width=100)


def test_a_table_lists_the_most_important_rows_in_their_order():
    """Of more than 17 rows the 16 most important are shown, in order; by default the first."""
    rows = [(f"w{i:02}", [str(i)]) for i in range(20)]
    left_out = {0, 3, 10, 19}
    table = NamedTable("Title", "Name", ["value"], rows, importance=[float(i not in left_out) for i in range(20)])
    lines = to_text(table, width=40).splitlines()
    assert [line.split() for line in lines[2:18]] == [[f"w{i:02}", str(i)] for i in range(20) if i not in left_out]
    assert lines[18] == "  … and 4 more"
    assert to_text(NamedTable("T", "N", ["v"], rows), width=40).splitlines()[17].split() == ["w15", "15"]
    assert "more" not in to_text(NamedTable("T", "N", ["v"], rows[:17]), width=40)
