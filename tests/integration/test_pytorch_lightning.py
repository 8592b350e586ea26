"""Guests of the other package: our callbacks in a Trainer of `pytorch_lightning`, which has classes of its own."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip import (
    ClipThresholdFinder,
    DivergenceRollback,
    GradientClipping,
    NonFiniteGuard,
    NormClip,
    RecurrentSpectrumMonitor,
    RegressionDataModule,
    RichGradientReport,
    RNNModule,
    StrategySwitcher,
    TemporalGradientMonitor,
    UpdateMonitor,
)
from lightning_clip.callbacks._trainer import check_strategy_support

pl = pytest.importorskip("pytorch_lightning")
pytestmark = pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*")
STEPS = 9


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.out = nn.GRU(3, 8, batch_first=True), nn.Linear(8, 1)

    def loss(self, batch):
        x, y = batch
        return nn.functional.mse_loss(self.out(self.rnn(x)[0][:, -1]), y)

    def training_step(self, batch, batch_idx):
        return self.loss(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Manual(Net):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer, loss = self.optimizers(), self.loss(batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()


def fit(module, *callbacks, **options):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(32, STEPS, 3, generator=generator), torch.randn(32, 1, generator=generator)
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", callbacks=list(callbacks), logger=False, **quiet | options)
    trainer.fit(module, DataLoader(TensorDataset(x, y), 8))
    return module


def everything():
    clipping, temporal = GradientClipping(NormClip(0.01)), TemporalGradientMonitor(every_n_steps=4)
    spectrum, update = RecurrentSpectrumMonitor(every_n_steps=4), UpdateMonitor()
    switcher, guard, rollback = StrategySwitcher([NormClip(1.0)]), NonFiniteGuard("skip"), DivergenceRollback()
    return [clipping, switcher, guard, rollback, temporal, spectrum, update, RichGradientReport()]


@pytest.mark.parametrize("bar", [False, True], ids=["no bar", "bar"])
@pytest.mark.parametrize("kind", [Net, Manual])
def test_every_callback_works(kind, bar, capsys):
    """All callbacks together record every step, measure, clip and print the report once."""
    callbacks = everything()
    fit(kind(), *callbacks, enable_progress_bar=bar)
    assert [record.clipped for record in callbacks[0].history] == [True] * 8
    assert len(callbacks[4].profiles) == 2
    assert callbacks[5].latest is not None
    assert capsys.readouterr().out.count("Strategy   NormClip(max_norm=0.01") == 1


@pytest.mark.parametrize("kind", [Net, Manual])
def test_a_threshold_is_found(kind):
    """The finder measures in a loop of the other package, and the run equals one with that threshold."""
    finder, clipping = ClipThresholdFinder(num_steps=5), GradientClipping(NormClip(1.0))
    ours = fit(kind(), finder, clipping).state_dict()
    given = fit(kind(), GradientClipping(NormClip(*finder.thresholds))).state_dict()
    assert len(clipping.history) == 8
    assert all(torch.equal(ours[name], given[name]) for name in given)


def test_clipping_equals_that_of_the_trainer():
    """`NormClip(c)` and `Trainer(gradient_clip_val=c)` give the same weights, bit for bit."""
    ours = fit(Net(), GradientClipping(NormClip(0.01))).state_dict()
    theirs = fit(Net(), gradient_clip_val=0.01).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("name", "remedy"), [("FSDPStrategy", "FSDP1"), ("DeepSpeedStrategy", "gradient_clipping")])
def test_its_strategies_are_refused_like_those_of_lightning(name, remedy):
    """The check asks what a strategy is, not which package its class comes from."""
    strategy = object.__new__(getattr(pl.strategies, name))
    with pytest.raises(Exception, match=f"GradientClipping cannot work with {name}.*{remedy}"):
        check_strategy_support(GradientClipping(NormClip(1.0)), SimpleNamespace(strategy=strategy))


@pytest.mark.filterwarnings("ignore:.*no `validation_step`")
def test_our_modules_are_refused_as_the_guide_says():
    """Modules do not cross between the two packages; `lightning_clip.pytorch_lightning` has those for this one."""
    with pytest.raises(TypeError, match=r"`model` must be a `LightningModule`.*got `RNNModule`"):
        fit(RNNModule(3, 1, task="regression"))
    with pytest.raises(ValueError, match="Expected a parent"):
        pl.Trainer(max_epochs=1, logger=False, accelerator="cpu").fit(Net(), datamodule=RegressionDataModule())
