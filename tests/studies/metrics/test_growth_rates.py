"""`GrowthRates`, and the built-in study that uses it."""

from dataclasses import replace

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from lightning_clip import (
    MLPRegressor,
    RegressionDataModule,
    RNNModule,
    TemporalGradientMonitor,
    TemporalOrderDataModule,
)
from lightning_clip.studies import GrowthRates, ResultsFolder, load_study, run_study
from lightning_clip.studies.training import make_trainer


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of the built-in study with 2 seeds, and its metrics by model."""
    folder = ResultsFolder(tmp_path_factory.mktemp("flow"))
    results = run_study(replace(load_study("gradient-flow"), seeds=2), folder)
    models = dict.fromkeys(result.model for result in results)
    return folder, {model: [one.metrics for one in results if one.model == model] for model in models}


def test_one_explodes_one_vanishes_and_one_does_neither(finished):
    """The three networks of the built-in study do what their names say."""
    _, metrics = finished
    assert all(one["growth_rate"] > 0.02 and one["horizon"] == 99 for one in metrics["rnn-exploding"])
    assert all(one["growth_rate"] < -0.1 and one["horizon"] < 25 for one in metrics["rnn-vanishing"])
    assert all(abs(one["growth_rate"]) < 0.04 and one["horizon"] > 25 for one in metrics["lstm"])
    assert all(one["r_squared"] > 0.8 for own in metrics.values() for one in own)


def test_the_rates_are_the_exact_ones(finished):
    """The rate that the monitor measures in one backward pass is exact to 0.005 per step."""
    _, metrics = finished
    for own in metrics.values():
        for one in own:
            assert one["difference"] == abs(one["growth_rate"] - one["growth_rate_exact"])
            assert 0 < one["difference"] < 0.005


def test_the_exact_rate_is_that_of_autograd():
    """Running the cell step by step gives the gradient with respect to each state."""
    torch.manual_seed(0)
    model, rates, monitor = RNNModule(6, 4, hidden_size=8), GrowthRates(), TemporalGradientMonitor(rows=2)
    layer = model.recurrent
    cell = torch.nn.RNNCell(6, 8)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    data = TemporalOrderDataModule(length=40, batch_size=4, seed=1)
    data.setup("fit")
    inputs, _ = next(iter(data.train_dataloader()))
    states = [torch.zeros(2, 8)]
    for step in model.encoder(inputs[:2]).unbind(1):
        states.append(cell(step, states[-1]))
    direction = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    gradients = torch.autograd.grad((states[-1] * direction).sum(), states[1:])
    logs = torch.stack([one.double().norm().log() for one in gradients]).flip(0)[4:]
    lags = torch.arange(len(logs), dtype=torch.double)
    slope = torch.stack([lags, logs]).cov()[0, 1] / lags.var()
    make_trainer([monitor, rates], {"max_steps": 1}).fit(model, datamodule=data)
    assert rates.metrics["growth_rate_exact"] == pytest.approx(slope.item(), abs=1e-4)


def test_before_training_there_are_none():
    """A run that never started has no rates."""
    assert set(GrowthRates().metrics.values()) == {None}


class OffMonitor(TemporalGradientMonitor):
    """Does not look for layers."""

    def on_train_start(self, trainer, pl_module):
        pass


def test_the_error_says_what_it_needs():
    """It needs a monitor, and a module whose recurrent inputs it knows."""
    with pytest.raises(
        MisconfigurationException, match="needs a TemporalGradientMonitor to compare with: add one to the callbacks"
    ):
        make_trainer([GrowthRates()], {"max_steps": 1}).fit(RNNModule(6, 4), datamodule=TemporalOrderDataModule())
    callbacks = [OffMonitor(), GrowthRates()]
    with pytest.raises(MisconfigurationException, match=r"a recurrent module .*: use one instead of MLPRegressor"):
        make_trainer(callbacks, {"max_steps": 1}).fit(MLPRegressor(), datamodule=RegressionDataModule())
