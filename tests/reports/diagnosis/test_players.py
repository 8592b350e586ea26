"""What a diagnosis says about optimizers with losses of their own."""

import numpy as np

from lightning_clip.core import History, RunInfo
from lightning_clip.reports import Evidence, Finding, diagnose
from tests.support.recorded import record

GAN = RunInfo(
    "GAN",
    "NoClip()",
    "Adam(lr=0.001), Adam(lr=0.05)",
    {"maker.weight": 4, "judge.weight": 4},
    trains=["maker", "judge"],
)
N = 200
NOISE = np.exp(0.1 * np.random.default_rng(0).standard_normal(N))
DYING = NOISE * np.where(np.arange(N) < 25, 1.0, 1e-4)
FALLING = NOISE * np.exp(-np.arange(N) / 15)
RISING = -0.7 * FALLING


def found(norms: tuple[np.ndarray, np.ndarray], losses: tuple[np.ndarray, np.ndarray]) -> list[Finding]:
    """The findings of a run in which two optimizers take turns in each batch."""
    history = History()
    for i in range(N):
        for player in (0, 1):
            one = record(2 * i + player, norms[player][i], optimizer=player, loss=losses[player][i])
            one.epoch, one.first_batch, one.batch = 0, i, i
            history.extend([one])
    return [one for one in diagnose(Evidence.of(history, GAN)) if one.kind in ("lost-gradient", "no-traction")]


def test_a_gradient_that_dies_while_the_opponent_wins_is_told():
    """The finding names the loser and the winner, and slows down the winner."""
    (finding,) = found((DYING, DYING), (RISING, FALLING))
    assert finding.kind == "lost-gradient"
    assert finding.title.startswith("Optimizer 0 (maker): The gradient died away")
    assert finding.title.endswith("optimizer 1 (judge) has won")
    assert finding.code == ("params = model.judge.parameters()", "optimizer = torch.optim.Adam(params, lr=0.005)")


def test_players_in_balance_are_not_mentioned():
    """Neither gradients that stay nor losses that stay are a fault between opponents."""
    assert found((NOISE, NOISE), (0.7 * NOISE, 1.4 * NOISE)) == []
    assert found((NOISE, NOISE), (RISING, FALLING)) == []


def test_players_that_converge_are_not_mentioned():
    """Both gradients die because both losses do; it does not matter whether they share one loss."""
    assert found((FALLING, FALLING), (2 * FALLING, FALLING)) == []
    assert found((DYING, DYING), (FALLING, FALLING)) == []


def test_a_frozen_player_is_not_mentioned():
    """A gradient that died without a winner is not explained by one."""
    assert found((DYING, NOISE), (0.7 * NOISE, 1.4 * NOISE)) == []
    assert found((NOISE, FALLING), (0.7 * NOISE, FALLING)) == []
