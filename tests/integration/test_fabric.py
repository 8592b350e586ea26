"""`clip_` with Lightning Fabric does the same as `GradientClipping` with the Trainer."""

from copy import deepcopy

import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision

from lightning_clip import NormClip
from tests.support.examples import example
from tests.support.regression import STEPS, STRATEGIES, as_of_a_loop, with_a_trainer
from tests.support.training import assert_same_weights

loop = example("07_fabric")


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: type(strategy).__name__)
def test_it_gives_the_weights_and_records_of_the_trainer(strategy):
    """Weights and records are the same, bit for bit, including a spike."""
    ours, theirs = loop.network(), loop.network()
    history = loop.train(Fabric(accelerator="cpu", devices=1), ours, loop.batches(STEPS), deepcopy(strategy))
    expected = with_a_trainer(theirs, loop.batches(STEPS), strategy)
    assert_same_weights(ours, theirs)
    assert list(history) == as_of_a_loop(expected)
    assert any(record.clipped or record.skipped for record in history)


def test_a_gradient_scaler_makes_no_difference():
    """Norms are those of unscaled gradients: a scale of 1024 gives the same record as a scale of 1."""
    norms = []
    for scale in (1.0, 1024.0):
        plugin = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=scale))
        fabric = Fabric(accelerator="cpu", devices=1, plugins=[plugin])
        history = loop.train(fabric, loop.network(), loop.batches(20)[:10], NormClip(0.5))
        norms.append([record.norm_before for record in history])
        assert any(record.clipped for record in history)
    assert norms[1] == pytest.approx(norms[0], rel=1e-2)


def test_two_processes_agree(tmp_path):
    """With DDP both ranks have the same norms and weights, and the norms are those of a single process."""
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp_fork")

    def run(fabric):
        net = loop.network()
        own = [(x[fabric.global_rank :: 2], y[fabric.global_rank :: 2]) for x, y in loop.batches(STEPS)]
        history = loop.train(fabric, net, own, NormClip(0.5))
        kept = {"norms": [record.norm_before for record in history], "weights": net.state_dict()}
        torch.save(kept, tmp_path / f"{fabric.global_rank}.pt")

    fabric.launch(run)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    expected = with_a_trainer(loop.network(), loop.batches(STEPS), NormClip(0.5))
    assert_same_weights(first["weights"], second["weights"])
    assert first["norms"] == second["norms"]
    assert first["norms"] == pytest.approx([record.norm_before for record in expected], rel=1e-3)


def test_the_example_prints_a_report(capsys):
    """The script prints how many steps were clipped."""
    loop.main()
    assert "clipped 1 of 200 steps" in capsys.readouterr().out
