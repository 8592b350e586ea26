"""`DivergenceRollback` and `NonFiniteGuard` with DDP on two processes, when one process alone sees a bad batch."""

import math

import pytest
import torch

from lightning_clip import DivergenceRollback, NonFiniteGuard
from tests.support.processes import fit_in_two
from tests.support.training import Net

pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed"),
    pytest.mark.filterwarnings("ignore:DivergenceRollback. step"),
]


class Poisoned(Net):
    """One process sees NaN inputs at the given steps, ahead of a layer with running statistics."""

    def __init__(self, bad_steps, *, rank: int) -> None:
        super().__init__("adam")
        self.norm = torch.nn.BatchNorm1d(4)
        self.bad_steps, self.bad_rank = bad_steps, rank

    def training_step(self, batch, batch_idx):
        x, y = batch
        bad = self.global_step in self.bad_steps and self.global_rank == self.bad_rank
        return super().training_step((self.norm(x * (math.nan if bad else 1.0)), y), batch_idx)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("guarded", [False, True])
def test_a_bad_batch_of_one_process_leaves_all_finite(rank, guarded, tmp_path):
    """Both processes end with the same finite weights and finite running statistics."""
    callbacks = [DivergenceRollback(snapshot_every_n_steps=1, patience=2), *([NonFiniteGuard()] if guarded else [])]
    ranks = fit_in_two(Poisoned([3], rank=rank), callbacks, tmp_path, max_epochs=2)
    for name, value in ranks[0]["weights"].items():
        assert value.isfinite().all(), name
        assert ranks[1]["weights"][name].isfinite().all(), name
        if not name.startswith("norm.running"):
            assert torch.equal(value, ranks[1]["weights"][name]), name
