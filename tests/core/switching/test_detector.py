"""`SpikeDetector.is_severe`: the fast verdict is that of `read`, on every course of norms."""

import math

import pytest
import torch

from lightning_clip import SpikeDetector

STEPS = 700
COURSES = {
    "level": [1.0] * STEPS,
    "falling": [math.exp(-0.05 * step) for step in range(STEPS)],
    "saw": [math.exp(-0.6 * (step % 40)) for step in range(STEPS)],
    "stairs": [10.0 ** -(step // 120) for step in range(STEPS)],
    "tiny": [1e-33] * STEPS,
}


@pytest.mark.parametrize("window", [200, 60, 33, 25])
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.4, 1.0, 2.5])
@pytest.mark.parametrize("course", COURSES)
def test_a_fast_verdict_equals_the_slow_one(course, spread, window):
    """`is_severe` says what `read` says, and remembers the same norms, however much they vary, fall or jump."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(STEPS, generator=generator).mul(spread).exp().tolist()
    norms = [level * factor for level, factor in zip(COURSES[course], noise, strict=True)]
    for step in range(100, STEPS, 97):
        norms[step] *= 50.0 * math.exp(8 * spread)
    norms[7], norms[300], norms[301] = 0.0, math.nan, math.inf
    fast, slow = SpikeDetector(window), SpikeDetector(window)
    verdicts = [fast.is_severe(norm) for norm in norms]
    assert verdicts == [slow.read(norm).weight >= 3 for norm in norms]
    assert any(verdicts)
    assert fast.norms == slow.norms
    assert fast.state_dict() == slow.state_dict()


def test_norms_put_aside_are_in_the_state():
    """A state saved between two verdicts is complete, and a detector that loads it goes on like the first."""
    norms = torch.randn(400, generator=torch.Generator().manual_seed(1)).mul(0.1).exp().tolist()
    first, second = SpikeDetector(), SpikeDetector()
    for norm in norms[:205]:
        first.is_severe(norm)
        second.is_severe(3 * norm)
    second.load_state_dict(first.state_dict())
    after = [*norms[205:], 2.5, 9.0]
    assert [first.is_severe(norm) for norm in after] == [second.is_severe(norm) for norm in after]
    assert first.state_dict() == second.state_dict()
