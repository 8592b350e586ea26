"""The tables of recurrent layers as people see them."""

import pytest

from lightning_clip.core import History, RunInfo
from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.recurrent.gates import GATE_NORMS
from lightning_clip.reports import render_report, to_text
from tests.support.recorded import history_of

LSTM = {"rnn.weight_ih_l0": 0.25, "rnn.weight_hh_l0": 0.5, "rnn.bias_ih_l0": 0.05, "head.weight": 0.2}


def text_of(history: History, width: int = 80) -> str:
    return to_text(render_report(history, RunInfo()), width=width)


def table_of(history: History, heading: str, width: int = 80) -> list[str]:
    """The lines below a heading, up to the empty one."""
    lines = text_of(history, width).splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(f"  {heading}")) + 1
    return lines[first : lines.index("", first)]


def run_of(shares: dict[str, float], gates: dict[str, list[float]] | None = None) -> History:
    history = history_of([1.0] * 3, shares=shares)
    if gates:
        history.measurements.add(Measurement(0, GATE_NORMS, gates))
    return history


def test_one_layer_is_one_line():
    """A layer is one line with its paths; all other parameters share another."""
    assert table_of(run_of(LSTM), "Norm by recurrent layer") == [
        "  Layer            input-hidden      hidden-hidden     bias                total",
        "  rnn l0           25% ███           50% ██████         5% ▋                 80%",
        "  everything else                                                            20%",
    ]


def test_gates_have_a_line_for_each_layer():
    """A table of gates is shown where gates were measured."""
    assert "Norm by gate" not in text_of(run_of(LSTM))
    lines = table_of(run_of(LSTM, {"rnn.weight_hh_l0": [1.0, 3.0, 2.0, 2.0]}), "Norm by gate")
    assert lines == [
        "  Layer   input             forget            cell              output",
        "  rnn l0   5.6% ▌             50% █████       22.2% ██▎         22.2% ██▎",
    ]


def test_an_lstm_and_a_gru_have_a_table_each():
    """LSTM and GRU layers have separate tables, because their gates have different names."""
    history = run_of(
        {"a.weight_hh_l0": 0.5, "b.weight_hh_l0": 0.5}, {"a.weight_hh_l0": [1.0] * 4, "b.weight_hh_l0": [1.0] * 3}
    )
    words = [line.split() for line in text_of(history).splitlines()]
    assert ["Layer", "input", "forget", "cell", "output"] in words
    assert ["Layer", "reset", "update", "new"] in words
    assert text_of(history).count("Norm by gate") == 2


def test_several_layers_have_a_sum():
    """Several layers have a total line that includes the layers that are not listed."""
    shares = {f"rnn.weight_hh_l{depth}": (depth + 1) / 60 for depth in range(10)} | {"head.weight": 5 / 60}
    lines = table_of(run_of(shares), "Norm by recurrent layer")
    assert [" ".join(line.split()[:3]).removesuffix("%") for line in lines[1:]] == [
        *(f"rnn l{depth} {100 * (depth + 1) / 60:.1f}".removesuffix(".0") for depth in range(4, 10)),
        "… 4 more",
        "all recurrent 91.7",
        "everything else 8.3",
    ]
    assert lines[7].split()[4:] == ["16.7%", "16.7%"]


def test_one_layer_more_takes_the_line_that_says_so():
    """Seven layers are all listed, because a line that hides one would take the same room."""
    text = text_of(run_of({f"rnn.weight_hh_l{depth}": 1 / 7 for depth in range(7)}))
    assert "more layer" not in text
    assert "everything else" not in text


def test_many_layers_are_not_listed_gate_by_gate():
    """The four layers with the largest share are listed by gate, and the rest are counted."""
    shares = {f"rnn.weight_hh_l{depth}": (depth + 1) / 36 for depth in range(8)}
    lines = table_of(run_of(shares, {name: [1.0] * 3 for name in shares}), "Norm by gate")
    assert [line.split()[1] for line in lines[1:]] == ["l4", "l5", "l6", "l7", "4"]


def test_the_parameters_below_are_fewer():
    """The two tables have twelve lines in total, and the one of parameters at least six."""
    two = {f"rnn.{kind}_l{depth}": 1 / 22 for depth in range(2) for kind in ("weight_hh", "weight_ih", "bias_ih")}
    more = {f"head.{i}": 1 / 22 for i in range(16)}
    assert "… and 12 more" in text_of(run_of(two | more))
    many = {f"rnn.weight_hh_l{depth}": 1 / 9 for depth in range(9)}
    assert "… and 3 more" in text_of(run_of(many))


def test_shares_of_several_optimizers_have_no_rest():
    """With several optimizers there is no line for everything else, because shares have different totals."""
    history = run_of(LSTM)
    history = history_of([1.0] * 3, shares={"critic.weight": 1.0}, optimizer=1, into=history)
    assert "everything else" not in text_of(history)


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("name", ["r", "an.encoder.with.a.long.name.forward", "x" * 60])
def test_any_name_fits_any_width(width, name):
    """At any width, names are shortened before a number is cut."""
    shares = {f"{name}.weight_ih_l0": 1e-6, f"{name}.weight_hh_l0": 0.9998, f"{name}.weight_hr_l0": 5e-5}
    shares |= {f"{name}.bias_ih_l0": 5e-5, "head.bias": 1e-4}
    history = run_of(shares, {f"{name}.weight_hh_l0": [1.0, 1e4, 1.0, 1.0]})
    for line in table_of(history, "Norm by recurrent layer", width) + table_of(history, "Norm by gate", width):
        assert len(line) <= width
        assert width < 80 or not line.rstrip().endswith("…")
    if width >= 80:
        assert "> 99.9%" in "".join(table_of(history, "Norm by recurrent layer", width))
