"""A long run, whose first steps are no longer in the window, is told the same story as a short one."""

import io
import math
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from lightning_clip import JsonlSink, load_record
from lightning_clip.core import History, RunInfo, StepRecord
from lightning_clip.reports import Evidence, Finding, diagnose
from lightning_clip.reports.growth import growth_of
from tests.support.recorded import record

LENGTHS = (300, 10_001, 50_000)
RUN = RunInfo("M", "NoClip()", "SGD(lr=0.1)", {"a.weight": 4, "b.weight": 4})
LOUD = {"a.weight": 0.6, "b.weight": 0.4}
SILENT = {"a.weight": 1e-12, "b.weight": 1.0}


def noise(n: int, size: float, seed: int = 0) -> np.ndarray:
    return np.exp(size * np.random.default_rng(seed).standard_normal(n))


def story(norms: np.ndarray, losses: np.ndarray, *, rates: np.ndarray | None = None) -> list[StepRecord]:
    steps = [
        record(step, norm, loss=loss, batches_per_epoch=40)
        for step, (norm, loss) in enumerate(zip(norms.tolist(), losses.tolist(), strict=True))
    ]
    if rates is None:
        return steps
    return [replace(one, learning_rate=rate) for one, rate in zip(steps, rates.tolist(), strict=True)]


def with_parameters(norms: np.ndarray, losses: np.ndarray, *, quiet_after: int) -> list[StepRecord]:
    pairs = enumerate(zip(norms.tolist(), losses.tolist(), strict=True))
    return [record(i, norm, loss=loss, shares=LOUD if i < quiet_after else SILENT) for i, (norm, loss) in pairs]


def healthy(n: int) -> list[StepRecord]:
    return story(noise(n, 0.3), np.exp(-3 * np.arange(n) / n) * noise(n, 0.2))


def no_traction(n: int) -> list[StepRecord]:
    return story(noise(n, 0.3), noise(n, 0.2))


def worsening_loss(n: int) -> list[StepRecord]:
    return story(noise(n, 0.3), np.abs(np.linspace(-1, 1, n)) * noise(n, 0.2) + 0.2)


def swinging_loss(n: int) -> list[StepRecord]:
    losses = 3 * noise(n, 1.5, seed=1)
    losses[:3] = 0.5
    return story(noise(n, 0.3), losses, rates=np.full(n, 10.0))


def falling_rate(n: int) -> list[StepRecord]:
    return story(noise(n, 0.3), noise(n, 0.2), rates=np.where(np.arange(n) < n // 2, 0.1, 1e-5))


def unscaled_targets(n: int) -> list[StepRecord]:
    return story(noise(n, 0.3), 1e7 * noise(n, 0.2) * np.linspace(1, 0.9, n))


def exploded_early(n: int) -> list[StepRecord]:
    norms = noise(n, 0.1)
    norms[:4] = (40.0, 300.0, 3000.0, 20_000.0)
    losses = 10 * noise(n, 0.1)
    return with_parameters(norms, losses, quiet_after=4)


def explosion(n: int) -> list[StepRecord]:
    norms = np.append(1.5 ** np.arange(40), np.full(n - 40, math.nan))
    losses = np.append(np.linspace(1, 5, 40), np.full(n - 40, math.nan))
    return with_parameters(norms, losses, quiet_after=n)


def growth_at_the_end(n: int) -> list[StepRecord]:
    norms = noise(n, 0.1)
    norms[-20:] = 1.5 ** np.arange(20)
    return story(norms, np.exp(-3 * np.arange(n) / n))


def non_finite(n: int) -> list[StepRecord]:
    norms = noise(n, 0.1)
    norms[30:] = math.nan
    return story(norms, norms)


def spikes(n: int) -> list[StepRecord]:
    norms = noise(n, 0.1)
    norms[np.arange(n) % 40 == 20] *= 1_000
    return story(norms, np.exp(-3 * np.arange(n) / n))


Story = Callable[[int], list[StepRecord]]
SICK: tuple[Story, ...] = (
    no_traction,
    worsening_loss,
    swinging_loss,
    falling_rate,
    unscaled_targets,
    exploded_early,
    explosion,
    growth_at_the_end,
    non_finite,
    spikes,
)
KINDS = {"growth_at_the_end": "explosion"}


def recorded(steps: list[StepRecord], history: History | None = None) -> History:
    history = History() if history is None else history
    for start in range(0, len(steps), 500):
        history.extend(steps[start : start + 500])
    return history


def found(history: History) -> list[Finding]:
    return diagnose(Evidence.of(history, RUN))


@pytest.mark.parametrize("tell", SICK)
def test_the_first_finding_does_not_depend_on_the_length(tell: Story):
    """Kind, severity and remedy are the same at 300, 10,001 and 50,000 steps, except for a threshold."""
    firsts = [found(recorded(tell(n)))[0] for n in LENGTHS]
    assert [one.kind for one in firsts] == [KINDS.get(tell.__name__, tell.__name__.replace("_", "-"))] * len(LENGTHS)
    assert len({one.severity for one in firsts}) == 1
    assert len({re.sub(r"max_norm=[\d.]+", "", "".join(one.code)) for one in firsts}) == 1


@pytest.mark.parametrize("n", LENGTHS)
def test_a_healthy_run_of_any_length_has_no_finding(n: int):
    """Nothing is said about a loss that falls."""
    assert found(recorded(healthy(n))) == []


@pytest.mark.parametrize("tell", [*SICK, healthy])
def test_a_resumed_run_and_a_file_tell_the_same(tell: Story, tmp_path):
    """A history that was saved and loaded, and one read from a file, have the same findings to the last digit."""
    steps = tell(10_400)
    whole, first, second = recorded(steps), recorded(steps[:7_777]), History()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert found(recorded(steps[7_777:], second)) == found(whole)

    sink = JsonlSink(tmp_path / "run.jsonl")
    sink.open(RUN)
    for one in steps:
        sink.write([one])
    sink.close(RUN, whole.parameters)
    read = load_record(sink.path).history
    assert [one.title for one in found(read)] == [one.title for one in found(whole)]
    for ours, theirs in ((read.aggregates[0], whole.aggregates[0]),):
        assert np.array_equal(ours.losses.values(), theirs.losses.values())
        assert np.array_equal(ours.learning_rates.values(), theirs.learning_rates.values())
    assert repr(read.landmarks[0].opening) == repr([one.without_params() for one in whole.landmarks[0].opening])
    assert repr(read.landmarks[0].lead_up) == repr(whole.landmarks[0].lead_up)
    assert repr(read.landmarks[0].first_bad) == repr(whole.landmarks[0].first_bad)


def of_an_earlier_version(history: History) -> History:
    """The history as a checkpoint of an earlier version would restore it."""
    state, restored = history.state_dict(), History()
    del state["landmarks"]
    for total in state["aggregates"].values():
        del total["losses"], total["learning_rates"]
    restored.load_state_dict(state)
    return restored


def test_an_earlier_checkpoint_of_a_short_run_tells_the_same():
    """Its records are all there, so what is missing can be derived."""
    for tell in SICK:
        history = recorded(tell(300))
        assert found(of_an_earlier_version(history)) == found(history), tell.__name__


def test_nothing_is_made_up_where_an_earlier_checkpoint_has_lost_the_first_steps():
    """Without the beginning of the run, its loss cannot be compared with anything, and no growth is claimed."""
    history = History(window=100)
    assert found(of_an_earlier_version(recorded(no_traction(300), history))) == []
    exploded = of_an_earlier_version(recorded(explosion(300), History(window=100)))
    assert growth_of(exploded, 0) is None
    assert found(exploded)[0].title.startswith("The gradient is NaN or infinite at step 40")


def test_spikes_that_the_record_no_longer_holds_are_not_counted_in_silence():
    """The finding says which steps it is about."""
    assert found(recorded(spikes(50_000)))[0].title.startswith("250 spikes in the latest 10,000 steps, ")
    assert "latest" not in found(recorded(spikes(300)))[0].title


def test_of_a_long_run_few_bytes_are_kept():
    """What covers the whole run does not grow with it."""
    sizes = []
    for n in (10_001, 50_000):
        file = io.BytesIO()
        torch.save(recorded(no_traction(n)).state_dict(), file)
        sizes.append(file.tell())
    assert sizes[1] < 1.1 * sizes[0]
