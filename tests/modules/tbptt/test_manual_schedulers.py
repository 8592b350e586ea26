"""`step_schedulers`: which schedulers step, and when."""

from types import SimpleNamespace

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from lightning_clip.modules.tbptt.manual_schedulers import step_schedulers


def module(*configs, step=1, epoch=0, metrics=None, **attributes):
    moved = []
    trainer = SimpleNamespace(lr_scheduler_configs=configs, callback_metrics=metrics or {})
    move = {"lr_scheduler_step": lambda scheduler, metric: moved.append((scheduler, metric)), "moved": moved}
    return SimpleNamespace(trainer=trainer, global_step=step, current_epoch=epoch, **move, **attributes)


def config(kind=StepLR, interval="step", frequency=1, **options):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    options = {"step_size": 1} if kind is StepLR else options
    return SimpleNamespace(scheduler=kind(optimizer, **options), interval=interval, frequency=frequency)


def test_only_those_of_the_interval_move():
    """Only schedulers of the given interval step, through the module's hook."""
    first, second = config(), config(interval="epoch")
    made = module(first, second)
    step_schedulers(made, "epoch")
    assert made.moved == [(second.scheduler, None)]


@pytest.mark.parametrize(("step", "moves"), [(1, False), (3, True), (4, False), (6, True)])
def test_the_frequency_counts_optimizer_steps(step, moves):
    """With frequency 3, the scheduler steps every third optimizer step."""
    made = module(config(frequency=3), step=step)
    step_schedulers(made, "step")
    assert bool(made.moved) is moves


@pytest.mark.parametrize(("epoch", "moves"), [(0, False), (1, True), (2, False)])
def test_the_frequency_counts_epochs(epoch, moves):
    """With frequency 2, the scheduler steps every second epoch."""
    made = module(config(interval="epoch", frequency=2), epoch=epoch)
    step_schedulers(made, "epoch")
    assert bool(made.moved) is moves


def test_a_plateau_is_watched_by_name():
    """The `monitor` of the scheduler takes precedence over that of the module."""
    watching = config(ReduceLROnPlateau)
    made = module(watching, metrics={"a": 1.0, "b": 2.0}, monitor="a")
    step_schedulers(made, "step")
    watching.scheduler.monitor = "b"
    step_schedulers(made, "step")
    assert [metric for _, metric in made.moved] == [1.0, 2.0]


def test_a_metric_that_is_not_there():
    """A missing metric raises an error that names it and lists the logged ones."""
    with pytest.raises(MisconfigurationException, match=r"ReduceLROnPlateau monitors 'c', .* Set `monitor` .* a, b\.$"):
        step_schedulers(module(config(ReduceLROnPlateau), metrics={"a": 1.0, "b": 2.0}, monitor="c"), "step")
