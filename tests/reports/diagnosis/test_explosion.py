"""What a diagnosis says about a run that exploded at its start: one story, and no vanishing gradient."""

import numpy as np
import pytest

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


def of_two(generator: np.ndarray, critic: np.ndarray, trains: list[str]) -> list[Finding]:
    """The findings of a run with two optimizers that take turns, each with these norms by parameter."""
    history = History()
    records = []
    for step, both in enumerate(zip(generator, critic, strict=True)):
        for optimizer, (part, own) in enumerate(zip(("generator", "critic"), both, strict=True)):
            names = tuple(f"{part}.{name}" for name in NAMES)
            one = record(2 * step + optimizer, float(np.linalg.norm(own)), optimizer=optimizer, batches_per_epoch=10)
            one.params = ParamNorms(names, own, np.zeros(3, dtype=bool))
            one.top_param = names[int(own.argmax())]
            records.append(one)
    history.extend(records)
    return diagnose(Evidence.of(history, RunInfo("GAN", "NoClip()", "SGD(lr=0.01), SGD(lr=0.01)", trains=trains)))


SICK, HEALTHY = ([2e3, 2e4, 4e4], (1e-6, 1e-8, 100.0)), ([1.0, 1.0, 1.0], (1.0, 0.5, 1.0))


@pytest.mark.parametrize("sick", [0, 1])
def test_of_two_optimizers_the_one_that_exploded_is_named(sick):
    """The story names the optimizer and its parameters only, and nothing of either is called vanishing."""
    norms = [table(*(SICK if i == sick else HEALTHY)) for i in (0, 1)]
    finding, *rest = of_two(*norms, trains=["generator", "critic"])
    name = ("generator", "critic")[sick]
    assert finding.kind == "exploded-early"
    assert finding.title.startswith(f"Optimizer {sick} ({name}): The norm exploded at steps ")
    assert "2 parameters have had almost no gradient since" in finding.title
    assert f"{name}.rnn.weight and {name}.rnn.bias had norms of up to 40,000" in finding.detail
    assert ("generator", "critic")[1 - sick] not in finding.title + finding.detail
    assert not [one for one in rest if "vanish" in one.kind or one.kind in ("exploded-early", "fell-silent")]


def test_two_healthy_optimizers_of_different_size_have_no_story():
    """One optimizer's gradients are 10,000 times as long as the other's, and each rose and fell a little."""
    large = 1e4 * table([1.0, 2.0, 2.0], (1.0, 0.5, 1.0))
    kinds = [one.kind for one in of_two(large, table(*HEALTHY), trains=["generator", "critic"])]
    assert not {"exploded-early", "fell-silent"} & set(kinds)


def test_where_it_is_unknown_who_trains_what_nobody_is_blamed():
    """Two optimizers of the same part, or without a name: the explosion is not pinned on one of them."""
    for trains in ([], ["", ""], ["generator", "generator"], ["gen", "crit"]):
        kinds = [one.kind for one in of_two(table(*SICK), table(*HEALTHY), trains=trains)]
        assert "exploded-early" not in kinds
