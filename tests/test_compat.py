"""The private names of Lightning and torch: they exist today, and each has a fallback."""

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
    """Return a scaler, and an optimizer with a gradient that is still scaled."""
    param = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([param], lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(param.sum() * (float("inf") if bad else 1.0)).backward()
    return scaler, optimizer


def test_lightning_has_the_private_names():
    """If this fails, a new version has renamed something and the fallbacks are in use."""
    trainer = quiet_trainer(callbacks=[GradientClipping(NormClip(1.0))], max_epochs=1)
    trainer.fit(Net(), loader())
    assert trainer.fit_loop.epoch_loop._batches_that_stepped == batches_that_stepped(trainer) == 6
    assert trainer._logger_connector.should_update_logs in (True, False)


@pytest.mark.parametrize(("every", "expected"), [(3, [2, 5]), (1, [0, 1, 2, 3, 4, 5]), (0, [])])
def test_the_fallback_of_the_logging_rule(every, expected):
    """It logs every `log_every_n_steps` batches that stepped, counted from the first, and never for 0."""
    trainers = [
        SimpleNamespace(
            fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace()), global_step=step, log_every_n_steps=every
        )
        for step in range(6)
    ]
    assert [step for step, trainer in enumerate(trainers) if should_log(trainer)] == expected


def test_a_disabled_scaler_is_none():
    """A disabled scaler scales nothing, so there is nothing to unscale."""
    for enabled in (True, False):
        plugin = SimpleNamespace(scaler=torch.amp.GradScaler("cpu", enabled=enabled))
        assert (grad_scaler(SimpleNamespace(precision_plugin=plugin)) is not None) == enabled
    assert grad_scaler(SimpleNamespace(precision_plugin=SimpleNamespace())) is None


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("bad", [False, True])
def test_a_scaler_says_what_it_unscaled_and_found(fused, bad):
    """The answers are right before unscaling, after it, and after the reset."""
    scaler, optimizer = stepped(bad, fused=fused)
    assert is_fused(optimizer) == fused
    assert not is_unscaled(scaler, optimizer)
    assert found_non_finite(scaler, optimizer) is None
    scaler.unscale_(optimizer)
    assert is_unscaled(scaler, optimizer)
    assert bool(found_non_finite(scaler, optimizer)) == bad
    forget_unscaling(scaler, optimizer)
    assert not is_unscaled(scaler, optimizer)


def test_without_an_answer_the_scaler_is_assumed_to_do_as_lightning_does():
    """Lightning unscales for all optimizers but fused ones; whether unscaling found infinity is unknown."""
    silent = SimpleNamespace()
    for fused in (False, True):
        optimizer = stepped(fused=fused)[1]
        assert is_unscaled(silent, optimizer) != fused
        assert found_non_finite(silent, optimizer) is None
        forget_unscaling(silent, optimizer)


def test_an_uncompiled_function_keeps_its_name():
    """Lightning looks up hooks by name."""

    class Hooked:
        @uncompiled
        def hook(self, x):
            return x + 1

    assert Hooked.hook.__name__ == "hook"
    assert Hooked().hook(1) == 2
