"""`Cliff`: gradient descents that start beside a wall in the error."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lightning_clip import NoClip, NormClip, SkipSpikes, read_jsonl
from lightning_clip.studies import ResultsFolder, load_study, run_study
from lightning_clip.studies.experiments import Cliff
from lightning_clip.studies.experiments.descent import BOX, Descent, descend, error_and_gradient, start_at_the_wall

START = start_at_the_wall(0)


def by_autograd(w: float, b: float) -> list[float]:
    """The error and its derivatives, by torch."""
    params = [torch.tensor(value, dtype=torch.double, requires_grad=True) for value in (w, b)]
    state = torch.tensor(0.5, dtype=torch.double)
    for _ in range(50):
        state = params[0] * state.sigmoid() + params[1]
    error = (state.sigmoid() - 0.7) ** 2
    return [value.item() for value in (error, *torch.autograd.grad(error, params))]


def test_the_derivatives_are_those_of_autograd():
    """The forward recursion gives what backpropagation gives, on the plateau, in the valley and on the wall."""
    for seed in range(20):
        assert error_and_gradient(*start_at_the_wall(seed)) == pytest.approx(by_autograd(*start_at_the_wall(seed)))
    for point in ((5.0, -2.0), (4.36, -2.2), (6.9, -3.4), (-3.0, 2.0), (0.0, 0.0)):
        assert error_and_gradient(*point) == pytest.approx(by_autograd(*point))


def test_many_points_at_once_give_the_same():
    """Arrays give the same as single numbers, and a point far away does not overflow."""
    w, b = np.array([[4.5, 5.0], [7.0, -2e3]]), np.array([[-2.5, -2.0], [-3.5, -1e3]])
    together = error_and_gradient(w, b)
    for place in np.ndindex(w.shape):
        assert [part[place] for part in together] == pytest.approx(error_and_gradient(float(w[place]), float(b[place])))


def test_starts_are_at_the_wall():
    """Each seed has its own start in the box, always the same, with a large gradient."""
    starts = [start_at_the_wall(seed) for seed in range(50)]
    assert len(set(starts)) == 50
    assert starts == [start_at_the_wall(seed) for seed in range(50)]
    for start in starts:
        assert all(low <= value <= high for value, (low, high) in zip(start, BOX, strict=True))
        assert 0.5 < math.hypot(*error_and_gradient(*start)[1:]) < 5


def test_a_descent_is_that_of_torchs_optimizer():
    """Without clipping, each step is that of SGD."""
    params = [torch.tensor(value, dtype=torch.double, requires_grad=True) for value in START]
    optimizer = torch.optim.SGD(params, lr=0.1)
    for point in descend(NoClip(), START, lr=0.1, steps=6).points:
        assert point == pytest.approx([param.item() for param in params])
        for param, value in zip(params, by_autograd(*point)[1:], strict=True):
            param.grad = torch.tensor(value, dtype=torch.double)
        optimizer.step()


def test_a_clipped_step_has_a_maximum_length():
    """It is the learning rate times the threshold."""
    descent = descend(NormClip(1.0), START, lr=0.1, steps=100)
    assert 0.0999 < descent.longest_step <= 0.1 + 1e-6
    assert descend(NoClip(), START, lr=0.1, steps=100).longest_step > 10


def test_a_skipped_step_goes_nowhere():
    """If a strategy skips a step, the point stays where it is."""
    strategy = SkipSpikes(k=1.0, window=4, max_fraction=1.0)
    descent = descend(strategy, START, lr=0.1, steps=50)
    skipped = [record.step for record in descent.events.flush() if record.skipped]
    assert skipped
    assert all(descent.points[step] == descent.points[step + 1] for step in skipped)


def test_solved_means_small_at_the_end():
    """An error that is small only for a while does not count; the steps are those before it stayed small."""
    cliff = Cliff(solved_below=0.1)
    assert [
        cliff._solved_at(Descent(errors=errors))
        for errors in ([0.3, 0.01, 0.3, 0.02, 0.01], [0.01, 0.01], [0.01, 0.3], [0.01, math.nan])
    ] == [3, 0, None, None]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder and the results of the built-in study with 8 seeds."""
    folder = ResultsFolder(tmp_path_factory.mktemp("cliff"))
    return folder, run_study(replace(load_study("cliff"), seeds=8), folder)


def test_clipping_reaches_the_valley(finished):
    """Every clipped descent ends in it; without clipping, steps are far longer and few descents do."""
    _, results = finished
    solved = {name: [r.metrics["solved"] for r in results if r.strategy == name] for name in ("none", "norm-1.0")}
    assert solved["norm-1.0"] == [1.0] * 8
    assert sum(solved["none"]) <= 4
    assert not any(result.diverged for result in results)
    for result in results:
        assert (result.metrics["steps_to_solve"] is None) == (result.metrics["solved"] == 0)
        assert (result.metrics["longest_step"] <= 0.1 + 1e-6) == (result.strategy == "norm-1.0")
        assert (result.clipped_fraction > 0) == (result.strategy == "norm-1.0")
        assert result.steps == 500


def test_the_record_is_that_of_the_run(finished):
    """It has all steps with their errors, the strategy, and how often it clipped."""
    folder, results = finished
    for result in results[::5]:
        run, history = read_jsonl(folder.record_of(result.key))
        assert (run.model, run.optimizer) == ("one recurrent unit", "SGD(lr=0.1)")
        assert history.aggregates[0].clipped == round(500 * result.clipped_fraction)
        assert (history[-1].loss < 1e-3) == bool(result.metrics["solved"] and history[-1].step == 499)
        assert len(history) == 500


def test_a_point_that_is_not_finite_ends_a_run(tmp_path):
    """Such a run diverged at that step and has no metrics."""
    longest = max(range(20), key=lambda seed: math.hypot(*error_and_gradient(*start_at_the_wall(seed))[1:]))
    cell = replace(load_study("cliff").cells()[0], seed=longest)
    result = Cliff(lr=1.7e308).run(cell, tmp_path / "record.jsonl")
    assert (result.diverged, result.diverged_at_step, result.steps) == (True, 1, 1)
    assert result.metrics == {"solved": None, "steps_to_solve": None, "longest_step": None}
    assert len(read_jsonl(tmp_path / "record.jsonl")[1]) == 2


def test_the_figure_shows_a_start_that_makes_a_difference(finished):
    """It shows the path of each strategy from a start where one is solved and the other is not."""
    _, results = finished
    study = replace(load_study("cliff"), seeds=8)
    surface, errors = Cliff().figure(study.cells(), results).axes[:2]
    ways = {line.get_label().partition(":")[0]: line for line in surface.lines[:2]}
    assert list(ways) == ["none", "norm-1.0"]
    seed = next(r.seed for r in results if r.strategy == "none" and not r.metrics["solved"])
    for way in ways.values():
        assert way.get_xydata()[0] == pytest.approx(start_at_the_wall(seed))
    inside = ways["norm-1.0"].get_xydata()
    assert (surface.get_xlim()[0] < inside[:, 0]).all()
    assert (inside[:, 0] < surface.get_xlim()[1]).all()
    assert "leaves the plot at step" in ways["none"].get_label()
    assert errors.lines[0].get_ydata()[-1] > 1e-3 > errors.lines[1].get_ydata()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": 0.0}, r"Cliff\(lr=0\.0\): lr must be a positive, finite number"),
        ({"solved_below": -1.0}, r"Cliff\(solved_below=-1\.0\): solved_below must be a positive, finite number"),
        ({"steps": 0}, r"Cliff\(steps=0\): steps must be"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """Each in one line, with its rule."""
    with pytest.raises(ValueError, match=message):
        Cliff(**arguments)
