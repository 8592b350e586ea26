"""The private names of Lightning and torch: present today, and done without where they are missing."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lightning_clip import GradientClipping, NormClip
from lightning_clip._compat import (
    batches_that_stepped,
    forget_unscaling,
    found_non_finite,
    grad_scaler,
    is_fused,
    is_unscaled,
    should_log,
    uncompiled,
)
from tests.support.training import Net, loader, quiet_trainer


def stepped(bad: bool = False, *, fused: bool = False) -> tuple[torch.amp.GradScaler, torch.optim.Optimizer]:
    """A scaler and an optimizer with a gradient that is still scaled."""
    param = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([param], lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(param.sum() * (float("inf") if bad else 1.0)).backward()
    return scaler, optimizer


def test_lightning_has_what_we_ask_it_for():
    """Where this fails a new version has renamed something, and the fallbacks are at work."""
    trainer = quiet_trainer(callbacks=[GradientClipping(NormClip(1.0))], max_epochs=1)
    trainer.fit(Net(), loader())
    assert trainer.fit_loop.epoch_loop._batches_that_stepped == batches_that_stepped(trainer) == 6
    assert trainer._logger_connector.should_update_logs in (True, False)


@pytest.mark.parametrize(("every", "expected"), [(3, [2, 5]), (1, [0, 1, 2, 3, 4, 5]), (0, [])])
def test_the_logging_rule_is_known_without_lightning(every, expected):
    """Every `log_every_n_steps` batches that stepped, counted from the first; never for 0."""
    trainers = [
        SimpleNamespace(
            fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace()), global_step=step, log_every_n_steps=every
        )
        for step in range(6)
    ]
    assert [step for step, trainer in enumerate(trainers) if should_log(trainer)] == expected


def test_a_scaler_that_is_switched_off_is_none():
    """It scales nothing, so that there is nothing to unscale."""
    for enabled in (True, False):
        plugin = SimpleNamespace(scaler=torch.amp.GradScaler("cpu", enabled=enabled))
        assert (grad_scaler(SimpleNamespace(precision_plugin=plugin)) is not None) == enabled
    assert grad_scaler(SimpleNamespace(precision_plugin=SimpleNamespace())) is None


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("bad", [False, True])
def test_a_scaler_says_what_it_has_unscaled_and_found(fused, bad):
    """Before, after, and once it has been told to forget."""
    scaler, optimizer = stepped(bad, fused=fused)
    assert is_fused(optimizer) == fused
    assert not is_unscaled(scaler, optimizer)
    assert found_non_finite(scaler, optimizer) is None
    scaler.unscale_(optimizer)
    assert is_unscaled(scaler, optimizer)
    assert bool(found_non_finite(scaler, optimizer)) == bad
    forget_unscaling(scaler, optimizer)
    assert not is_unscaled(scaler, optimizer)


def test_a_scaler_that_cannot_be_asked_is_taken_to_do_as_lightning_does():
    """Lightning unscales for all optimizers but fused ones, and what was found has to be measured."""
    silent = SimpleNamespace()
    for fused in (False, True):
        optimizer = stepped(fused=fused)[1]
        assert is_unscaled(silent, optimizer) != fused
        assert found_non_finite(silent, optimizer) is None
        forget_unscaling(silent, optimizer)


def test_a_function_that_is_not_to_be_compiled_still_has_its_name():
    """Lightning looks hooks up by name."""

    class Hooked:
        @uncompiled
        def hook(self, x):
            return x + 1

    assert Hooked.hook.__name__ == "hook"
    assert Hooked().hook(1) == 2
