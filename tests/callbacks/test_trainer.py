"""What the callbacks need from the trainer; `tests/integration/test_refusals.py` tests unsupported strategies."""

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.core.optimizer import _MockOptimizer

from lightning_clip.callbacks._trainer import check_trainer_does_not_clip, describe_run
from tests.support.training import Net, TwoOptimizers, quiet_trainer


def described(module):
    trainer = quiet_trainer()
    optimizers = module.configure_optimizers()
    trainer.strategy.optimizers = list(optimizers) if isinstance(optimizers, tuple) else [optimizers]
    return describe_run(trainer, module, strategy="NormClip(1.0)")


def test_a_run_is_described_by_class_optimizer_and_sizes():
    """The description has what the header of a report shows."""
    run = described(Net())
    assert (run.model, run.strategy, run.optimizer) == ("Net", "NormClip(1.0)", "SGD(lr=0.05, momentum=0.9)")
    assert run.numels == {"net.0.weight": 12, "net.0.bias": 3, "net.2.weight": 3, "net.2.bias": 1}
    assert run.seconds is None


def test_every_optimizer_is_named():
    """Optimizers are listed in order."""
    assert described(TwoOptimizers()).optimizer == "SGD(lr=0.1), SGD(lr=0.1)"


def test_compiled_parts_keep_their_names():
    """Names do not contain the prefix of the compiler's wrapper."""
    module = Net()
    module.net = torch.compile(module.net, backend="eager")
    assert list(described(module).numels) == ["net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"]


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_parameters_without_a_size_are_left_out():
    """A lazy layer has no size before the first batch."""
    module = Net()
    module.net[0] = torch.nn.LazyLinear(3)
    assert described(module).numels == {"net.2.weight": 3, "net.2.bias": 1}


def test_no_optimizer_is_none():
    """Lightning's stand-in for a missing optimizer is not described."""
    trainer = quiet_trainer()
    trainer.strategy.optimizers = [_MockOptimizer()]
    assert describe_run(trainer, Net(), strategy="NoClip()").optimizer == ""


def test_a_trainer_that_clips_is_rejected():
    """The message quotes both calls."""
    check_trainer_does_not_clip(quiet_trainer(), "GradientMonitor()")
    with pytest.raises(
        MisconfigurationException, match=r"gradient_clip_val=0\.5\)` and are using `GradientMonitor\(\)`"
    ):
        check_trainer_does_not_clip(quiet_trainer(gradient_clip_val=0.5), "GradientMonitor()")
