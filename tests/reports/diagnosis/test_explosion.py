"""What a diagnosis says about a run that exploded at its start: one story, and no vanishing gradient."""

import numpy as np

from lightning_clip.core import History, RunInfo
from lightning_clip.core.record.step_record import ParamNorms
from lightning_clip.reports import Evidence, Finding, Severity, diagnose
from tests.support.recorded import record

NAMES = ("rnn.weight", "rnn.bias", "head.weight")
RNG = np.random.default_rng(0)


def found(norms: np.ndarray, *, losses: np.ndarray | None = None) -> list[Finding]:
    """The findings of a run with these norms by parameter, `(steps, 3)`."""
    history = History()
    records = []
    for step, own in enumerate(norms):
        one = record(
            step, float(np.linalg.norm(own)), batches_per_epoch=10, loss=None if losses is None else losses[step]
        )
        one.params = ParamNorms(NAMES, own, np.zeros(3, dtype=bool))
        one.top_param = NAMES[int(own.argmax())]
        records.append(one)
    history.extend(records)
    return diagnose(Evidence.of(history, RunInfo("M", "NoClip()", "SGD(lr=0.01, momentum=0.9)")))


def table(start: list[float], rest: tuple[float, float, float], steps: int = 100) -> np.ndarray:
    """Norms that begin with `start` in every parameter and go on with `rest`."""
    later = np.array(rest) * np.exp(0.2 * RNG.standard_normal((steps, 3)))
    return np.vstack([np.array(start)[:, None] * np.ones(3), later])


def test_an_explosion_that_left_parameters_silent_is_one_story():
    """The steps, the batches and the parameters are named, and nothing is called vanishing."""
    finding, *rest = found(table([2e3, 2e4, 4e4], (1e-6, 1e-8, 100.0)))
    assert finding.kind == "exploded-early"
    assert finding.severity is Severity.CRITICAL
    assert finding.title == "The norm exploded at steps 0–2, and 2 parameters have had almost no gradient since"
    assert "epoch 0, batches 0–2" in finding.detail
    assert "led by rnn.weight" in finding.detail
    assert "rnn.weight and rnn.bias had norms of up to 40,000" in finding.detail
    assert not [one for one in rest if "vanish" in one.kind]


def test_the_same_without_an_explosion_is_a_vanishing_gradient():
    """Parameters that never had a gradient did not lose it."""
    finding = found(table([], (1e-6, 1e-8, 1.0)))[0]
    assert finding.kind == "vanishing-parameters"
    assert "From back to front it falls from" in finding.detail


def test_parameters_that_lost_their_gradient_later_are_told_apart():
    """Without a rise at the start it is no explosion, and no vanishing gradient either."""
    early = np.array([1.0, 1.0, 1.0]) * np.exp(0.2 * RNG.standard_normal((20, 3)))
    finding, *rest = found(np.vstack([early, table([], (1e-6, 1e-8, 1.0))]))
    assert not [one for one in rest if "vanish" in one.kind]
    assert finding.kind == "fell-silent"
    assert finding.title == "2 parameters lost their gradient during the run"


def test_an_explosion_that_passed_and_a_large_start_are_no_damage():
    """High first norms are common; while every parameter keeps its gradient, nothing is said."""
    assert [one.kind for one in found(table([2.0, 30.0, 50.0], (1.0, 0.5, 1.0)))] in ([], ["spikes"])
    assert found(table([500.0, 100.0, 20.0], (1.0, 0.5, 1.0))) == []
