"""`showcase`: the two runs that best show what clipping changes."""

from dataclasses import replace

from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.showcase import showcase
from tests.support.studies import result


def lost(strategy: str = "none", seed: int = 0, **changes) -> RunResult:
    return replace(
        result(strategy, seed, **changes), diverged=True, diverged_at_step=3, metrics={}, clipped_fraction=0.0
    )


def tried(strategy: str, *, solved: bool, seed: int = 0, **changes) -> RunResult:
    """A run with a task to solve."""
    clipped = 0.0 if strategy == "none" else 0.5
    return result(strategy, seed, clipped_fraction=clipped, metrics={"solved": float(solved)}, **changes)


def test_the_first_that_was_saved_and_the_last_that_saved_it():
    """Both runs have the same model, seed and setting."""
    results = [
        lost(seed=0, axes={"length": 50}),
        lost(seed=1, axes={"length": 50}),
        result("value", 1, axes={"length": 100}),
        result("value", 1, axes={"length": 50}),
        result("norm", 1, axes={"length": 50}),
        result("norm", 1, axes={"length": 50}, model="other"),
    ]
    assert showcase(results) == [results[1], results[4]]


def test_clipping_must_have_been_active():
    """A smaller learning rate is a remedy too, but gradient reports do not show it."""
    results = [lost(), result("lr-0.1", clipped_fraction=0.0), result("norm"), result("adam", clipped_fraction=0.0)]
    assert showcase(results) == [results[0], results[2]]


def test_a_combination_is_not_shown_where_its_part_is_enough():
    """The second run changes as little as possible."""
    results = [lost(), result("norm-1.0"), result("norm-1.0+omega-4")]
    assert showcase(results) == results[:2]
    assert showcase([results[0], results[2]]) == [results[0], results[2]]


def test_both_runs_share_what_is_not_clipping():
    """A run with another nonlinearity goes with clipping and the same nonlinearity, if there is such a run."""
    results = [lost("relu"), lost("identity"), result("norm"), result("identity+norm"), result("orthogonal+norm")]
    assert showcase(results) == [results[1], results[3]]
    assert showcase(results[:3]) == [results[0], results[2]]


def test_a_run_that_nothing_saved_is_shown_alone():
    """It is the first run that diverged."""
    assert showcase([lost(seed=0), lost(seed=1), lost("norm", 1)]) == [lost(seed=0)]


def test_an_unsolved_run_is_shown_beside_a_solved_one():
    """If no run diverged, an unsolved run takes the place; without a solved one there is nothing to show."""
    results = [tried("none", solved=False), tried("soft", solved=False), tried("norm", solved=True)]
    assert showcase(results) == [results[0], results[2]]
    assert showcase(results[:2]) == []
    assert showcase([tried("none", solved=True), tried("norm", solved=True)]) == []


def test_a_run_that_was_not_solved_saves_nothing():
    """Staying finite is not enough if there is a task to solve."""
    results = [lost(), tried("soft", solved=False), tried("norm", solved=True), tried("value", solved=False)]
    assert showcase(results) == [results[0], results[2]]
