"""The suggestions for several optimizers fit together: one callback limits each of them."""

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from lightning_clip import NormClip, RunRecord
from lightning_clip.core import RunInfo
from lightning_clip.reports import Finding
from tests.reports.runs import LAGS, profile
from tests.reports.sick_runs.kit import fitted, rows_of
from tests.support.recorded import history_of
from tests.support.training import quiet_trainer

STEPS = 120


class Players(pl.LightningModule):
    """Two networks that learn by themselves; the gradients of the second are a thousand times those of the first.

    Args:
        are_apart: Whether each optimizer has a network; otherwise one has the weights of both, the other the biases.
    """

    def __init__(self, *, are_apart: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization, self.are_apart = False, are_apart
        self.maker, self.judge = nn.Linear(2, 1), nn.Linear(2, 1)

    def training_step(self, batch: tuple[torch.Tensor], batch_idx: int) -> None:
        for scale, net in ((1.0, self.maker), (1000.0, self.judge)):
            self.manual_backward(scale * net(batch[0]).square().mean())
        for optimizer in self.optimizers():
            optimizer.step()
            optimizer.zero_grad()

    def configure_optimizers(self):
        parts = [list(net.parameters()) for net in (self.maker, self.judge)]
        if not self.are_apart:
            parts = list(map(list, zip(*parts, strict=True)))
        return [torch.optim.SGD(part, lr=1e-9) for part in parts]


def rows():
    generator = torch.Generator().manual_seed(0)
    return rows_of(torch.randn(STEPS * 4, 2, generator=generator), batch_size=4)


def about_clipping(record: RunRecord) -> list[Finding]:
    return [finding for finding in record.diagnose() if any("GradientClipping" in line for line in finding.code)]


def pasted(code: tuple[str, ...], module: pl.LightningModule) -> RunRecord:
    """Train with the lines as they are printed."""
    namespace: dict[str, object] = {"Trainer": lambda callbacks: quiet_trainer(callbacks=callbacks, max_epochs=1)}
    exec("\n".join(code), namespace)
    namespace["trainer"].fit(module, rows())
    return namespace["clipping"].record


@pytest.mark.parametrize("max_norm", [1e-3, 1e9], ids=["always clipped", "never clipped"])
def test_two_findings_suggest_the_same_lines_and_these_limit_each_optimizer(max_norm):
    """Pasted, they clip about one step in ten of both, whose norms differ a thousandfold."""
    findings = about_clipping(fitted(Players(), rows(), epochs=1, strategy=NormClip(max_norm)))
    assert [finding.title[:12] for finding in findings] == ["Optimizer 0 ", "Optimizer 1 "]
    first, second = findings
    assert first.code == second.code
    assert first.remedy.endswith("One callback limits each optimizer by its own norms:")
    totals = pasted(first.code, Players()).history.aggregates
    assert [0.05 < totals[index].clipped_fraction < 0.15 for index in (0, 1)] == [True, True]
    assert totals[1].mean > 500 * totals[0].mean


def test_optimizers_that_share_a_part_get_a_limit_each_from_the_finder():
    """No glob tells their parameters apart, so each threshold is found when the run begins."""
    apart = Players(are_apart=False)
    first, second = about_clipping(fitted(apart, rows(), epochs=1, strategy=NormClip(1e9)))
    assert first.code == second.code
    assert first.code[-1] == "trainer = Trainer(callbacks=[clipping, ClipThresholdFinder()])"
    record = pasted(first.code, Players(are_apart=False))
    assert all(0 < record.history.aggregates[index].clipped_fraction < 0.3 for index in (0, 1))
    assert len({step.threshold for step in record.history}) == 2


def test_a_parameter_of_its_own_is_named_without_a_star():
    """An optimizer of a single parameter at the top of the module."""

    class Scaled(Players):
        def __init__(self) -> None:
            super().__init__()
            self.maker = nn.Parameter(torch.ones(2))
            self.judge = nn.Linear(2, 1)

        def training_step(self, batch: tuple[torch.Tensor], batch_idx: int) -> None:
            self.manual_backward((self.maker * batch[0]).square().mean() + self.judge(batch[0]).square().mean())
            for optimizer in self.optimizers():
                optimizer.step()
                optimizer.zero_grad()

        def configure_optimizers(self):
            return [torch.optim.SGD(part, lr=1e-9) for part in ([self.maker], self.judge.parameters())]

    first, _ = about_clipping(fitted(Scaled(), rows(), epochs=1, strategy=NormClip(1e9)))
    assert first.code[2].startswith('    "maker": ')
    assert first.code[3].startswith('    "judge.*": ')
    assert pasted(first.code, Scaled()).history.aggregates[0].clipped_fraction > 0.05


def test_two_findings_about_one_optimizer_suggest_the_same_limit():
    """Spikes, and a gradient that explodes through time: the limit is the P90 of the norms in both."""
    norms = np.exp(0.3 * np.random.default_rng(3).standard_normal(300))
    norms[[100, 200, 250]] = 500.0
    history = history_of(norms.tolist())
    history.measurements.add(profile(0, np.exp(0.1 * LAGS)).to_measurement())
    found = about_clipping(RunRecord(RunInfo("RNNModule", "NoClip()", "Adam(lr=0.001)"), history))
    assert {finding.kind for finding in found} == {"spikes", "temporal-explosion"}
    assert found[0].code == found[1].code
    assert (
        found[0].code[1] == f"clipping = GradientClipping(NormClip(max_norm={float(f'{np.quantile(norms, 0.9):.2g}')}))"
    )
