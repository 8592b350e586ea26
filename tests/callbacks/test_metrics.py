"""Metrics of recurrent layers."""

import numpy as np
import pytest

from lightning_clip.callbacks._metrics import recurrent_norms
from lightning_clip.core.record.step_record import ParamNorms


def norms_of(norms: dict[str, float], gates: dict[str, list[float]] | None = None) -> dict[str, float]:
    return recurrent_norms(
        ParamNorms((*norms,), np.array(list(norms.values())), np.zeros(len(norms), dtype=bool), gates or {})
    )


def test_one_layer_has_a_norm_by_path():
    """Both biases belong to one path; parameters of other layers are ignored."""
    norms = {"r.weight_ih_l0": 1.0, "r.weight_hh_l0": 2.0, "r.bias_ih_l0": 3.0, "r.bias_hh_l0": 4.0, "head.weight": 9.0}
    assert norms_of(norms) == {"input-hidden": 1.0, "hidden-hidden": 2.0, "bias": 5.0}


def test_several_layers_have_their_own_norms_besides_the_total():
    """Each depth and direction has a key with its suffix in torch."""
    norms = {"r.weight_hh_l0": 3.0, "r.weight_hh_l0_reverse": 4.0, "r.weight_hr_l0": 1.0}
    assert norms_of(norms) == {
        "hidden-hidden": 5.0,
        "hidden-hidden_l0": 3.0,
        "hidden-hidden_l0_reverse": 4.0,
        "projection": 1.0,
        "projection_l0": 1.0,
    }


def test_layers_of_several_modules_have_the_name_of_their_module():
    """Layers of the same depth in two modules have different keys."""
    found = norms_of({"encoder.weight_hh_l0": 3.0, "decoder.cell.weight_hh": 4.0})
    assert found == {"hidden-hidden": 5.0, "encoder.hidden-hidden_l0": 3.0, "decoder.cell.hidden-hidden": 4.0}


def test_gate_norms_cover_all_parameters_of_a_layer():
    """If gates were measured, those of an LSTM and of a GRU have their own keys."""
    lstm = {"a.weight_ih_l0": [3.0, 0.0, 1.0, 2.0], "a.weight_hh_l0": [4.0, 6.0, 0.0, 0.0]}
    found = norms_of(dict.fromkeys(lstm, 1.0), lstm)
    assert {key: found[key] for key in found if "gate" in key} == {
        "gate_input": 5.0,
        "gate_forget": 6.0,
        "gate_cell": 1.0,
        "gate_output": 2.0,
    }
    both = {**lstm, "b.weight_hh_l0": [1.0, 2.0, 3.0]}
    found = norms_of(dict.fromkeys(both, 1.0), both)
    assert found["gate_forget"] == found["a.gate_forget_l0"] == 6.0
    assert [found[f"b.gate_{gate}_l0"] for gate in ("reset", "update", "new")] == pytest.approx([1.0, 2.0, 3.0])


def test_a_network_without_recurrence_has_no_metrics():
    """A network without recurrent layers gets no keys."""
    assert norms_of({"net.0.weight": 1.0}) == {}
