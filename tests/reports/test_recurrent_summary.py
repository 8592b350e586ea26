"""Shares of paths and gates, as plain data."""

import math

import numpy as np
import pytest

from lightning_clip.core import RunInfo
from lightning_clip.core.record.measurements import Measurement
from lightning_clip.core.recurrent.gates import GATE_NORMS
from lightning_clip.reports.recurrent_summary import summarize_recurrent
from lightning_clip.reports.summary import summarize
from tests.support.recorded import history_of


def gates(step: int = 0, **norms: list[float]) -> Measurement:
    return Measurement(step, GATE_NORMS, {name.replace("__", "."): values for name, values in norms.items()})


def test_each_path_holds_the_shares_of_its_parameters():
    """Each path has the shares of its parameters; layers keep the order of the network."""
    shares = {
        "head.weight": 0.1,
        "b.weight_ih_l0": 0.1,
        "b.weight_hh_l0": 0.2,
        "b.bias_ih_l0": 0.05,
        "b.bias_hh_l0": 0.05,
        "b.weight_hh_l0_reverse": 0.1,
        "a.weight_hh_l0": 0.4,
    }
    first, second, third = summarize_recurrent(shares, [])
    assert (first.name, second.name, third.name) == ("b l0", "b l0 reverse", "a l0")
    assert first.paths == {"input-hidden": 0.1, "hidden-hidden": 0.2, "bias": 0.1}
    assert third.paths == {"hidden-hidden": 0.4}
    assert first.share == pytest.approx(0.4)
    assert (first.gates, first.measured) == ({}, 0)


def test_shares_are_those_of_the_record():
    """The shares in a summary follow from the norms of the parameters."""
    shares = {"rnn.bias_ih_l0": 0.1, "rnn.weight_hh_l0": 0.6, "head.weight": 0.3}
    [layer] = summarize(history_of([2.0, 5.0, 0.1], shares=shares), RunInfo()).recurrent
    assert layer.paths == pytest.approx({"hidden-hidden": 0.6, "bias": 0.1})


def test_a_gate_holds_its_part_of_the_layers_squared_norm():
    """A gate's share covers all parameters of its layer, and every step counts the same."""
    rows = [
        gates(0, r__weight_ih_l0=[3.0, 0.0, 0.0, 0.0], r__weight_hh_l0=[0.0, 4.0, 0.0, 0.0]),
        gates(50, r__weight_ih_l0=[0.0, 0.0, 0.0, 0.0], r__weight_hh_l0=[0.0, 0.0, 1e200, 0.0]),
    ]
    [layer] = summarize_recurrent({"r.weight_ih_l0": 0.5, "r.weight_hh_l0": 0.5}, rows)
    assert layer.gates == pytest.approx({"input": 0.18, "forget": 0.32, "cell": 0.5, "output": 0.0})
    assert layer.measured == 2


def test_layers_are_measured_apart():
    """A layer may be missing at a step, and a step with zero gradients has no shares."""
    rows = [
        gates(0, a__weight_hh_l0=[1.0, 0.0, 0.0], b__weight_hh_l0=[0.0, 0.0, 0.0, 1.0]),
        gates(50, a__weight_hh_l0=[0.0, 1.0, 0.0]),
        gates(100, a__weight_hh_l0=[0.0, 0.0, 0.0]),
    ]
    first, second = summarize_recurrent({"a.weight_hh_l0": 0.5, "b.weight_hh_l0": 0.5}, rows)
    assert (first.gates, first.measured) == ({"reset": 0.5, "update": 0.5, "new": 0.0}, 2)
    assert (second.gates["output"], second.measured) == (1.0, 1)


def test_shares_of_gates_add_up():
    """The shares of the gates of a layer add up to one, for any norms."""
    rng = np.random.default_rng(0)
    rows = [gates(step, r__weight_hh_l0=rng.lognormal(size=4).tolist()) for step in range(100)]
    [layer] = summarize_recurrent({"r.weight_hh_l0": 1.0}, rows)
    assert math.fsum(layer.gates.values()) == pytest.approx(1.0)


def test_nothing_recurrent_gives_nothing():
    """A network without recurrent layers has no recurrent summary."""
    assert summarize_recurrent({"net.0.weight": 1.0}, []) == ()
