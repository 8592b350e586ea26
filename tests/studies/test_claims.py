"""What the studies show: short forms of them by default, and with `-m slow` the studies themselves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lightning_clip.studies import ResultsFolder, load_study, run_study
from lightning_clip.studies.comparison.result import RunResult
from tests.studies.claims import CLAIMS, errors, is_lost_at_once, of, solved
from tests.support.perturbed import with_another_last_bit, with_other_seeds


def shortened(name: str, folder: Path, axes: dict[str, float | str], **changes: Any) -> list[RunResult]:
    """A built-in study at one setting, with fewer seeds and steps."""
    study = load_study(name)
    setting = next(setting for setting in study.settings or [{}] if setting.get("axes", {}) == axes)
    trainer = {**study.trainer, **setting.get("trainer", {}), **changes.pop("trainer", {})}
    short = replace(study, settings=[{**setting, **changes.pop("setting", {}), "trainer": trainer}], **changes)
    return run_study(short, ResultsFolder(folder), jobs=1)


@pytest.mark.parametrize("times", [1.5, pytest.param(3, marks=pytest.mark.slow)])
def test_clipping_and_omega_solve_what_nothing_else_does(times, tmp_path):
    """Temporal order over 30 steps is solved with Ω and clipping, but not without in more updates.

    Over 50 steps, as in the study, the rounding of the CPU decides whether 750 or 1,000 updates are needed.
    """

    def run(strategy: str, **trainer: Any) -> RunResult:
        only = {"strategies": [strategy], "data": {"init_args": {"length": 30, "n_test": 500}}}
        folder, axes = tmp_path / strategy, {"length": 50}
        (one,) = shortened("rnn-temporal-order", folder, axes, seeds=1, setting=only, trainer=trainer)
        return one

    remedied = run("norm-1.0+omega-4")
    alone = run("none", max_steps=int(times * remedied.steps))
    assert solved([remedied]) == 1
    assert solved([alone]) == 0
    assert alone.metrics["test_error"] > 0.5


def test_most_networks_die_within_a_few_updates_without_clipping(tmp_path):
    """Temporal order over 100 steps, at a rate that works with clipping: without it, ReLU networks diverge or die."""
    only = {"strategies": ["none"], "data": {"init_args": {"length": 100, "n_test": 100}}}
    runs = shortened("rnn-temporal-order", tmp_path, {"length": 100}, seeds=5, setting=only, trainer={"max_steps": 10})
    assert sum(run.diverged or run.metrics["dead"] == 1 for run in runs) >= 4
    assert all(run.metrics["solved"] == 0 for run in runs)


def test_a_rate_that_kills_the_network_is_safe_with_clipping(tmp_path):
    """At 0.01, a network diverges or dies within ten updates without clipping, and not with it."""
    few = {"data": {"init_args": {"n_test": 100}}}
    runs = shortened("rnn-lr-sweep", tmp_path, {"lr": 0.01}, seeds=1, setting=few, trainer={"max_steps": 10})
    (unclipped,), (clipped,) = of(runs, "none"), of(runs, "norm-1.0")
    assert unclipped.diverged or unclipped.metrics["dead"] == 1
    assert not clipped.diverged
    assert clipped.metrics["dead"] == 0


@pytest.mark.parametrize("perturbed", [with_another_last_bit, with_other_seeds])
def test_the_regression_network_needs_clipping_however_it_rounds(perturbed, tmp_path):
    """With the last bit of each weight changed, or with other seeds, unclipped runs diverge and clipped ones do not."""
    study = perturbed(replace(load_study("mlp-regression"), seeds=2, max_epochs=4))
    runs = run_study(study, ResultsFolder(tmp_path))
    assert is_lost_at_once(of(runs, "none"))
    for strategy in ("per-parameter-norm-1.0", "value-5.0", "norm-1.0"):
        assert max(errors(of(runs, strategy))) < 30_000, strategy


def test_the_valley_is_found_from_other_starts(tmp_path):
    """Ten other descents beside the wall: clipped ones end in the valley, most others do not."""
    study = with_other_seeds(replace(load_study("cliff"), seeds=10))
    runs = run_study(study, ResultsFolder(tmp_path))
    assert solved(of(runs, "norm-1.0")) >= 9
    assert solved(of(runs, "none")) <= 6


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_a_study_shows_what_it_is_there_for(name, tmp_path):
    """The whole study runs as with `lightning-clip compare --config NAME`."""
    CLAIMS[name](run_study(load_study(name), ResultsFolder(tmp_path), jobs=2))
