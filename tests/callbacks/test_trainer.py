"""What the callbacks need from the trainer; `tests/integration/test_refusals.py` tests unsupported strategies."""

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.core.optimizer import _MockOptimizer

from lightning_clip import AutoClip, Chain, GradientMonitor, GroupEmaClip, NoClip, NormClip, SkipSpikes
from lightning_clip.callbacks._trainer import check_trainer_does_not_clip, describe_run
from tests.support.training import ManualNet, Net, TwoOptimizers, loader, quiet_trainer


def described(module):
    trainer = quiet_trainer()
    optimizers = module.configure_optimizers()
    trainer.strategy.optimizers = list(optimizers) if isinstance(optimizers, tuple) else [optimizers]
    return describe_run(trainer, module, strategies=[NormClip(1.0)])


def test_a_run_is_described_by_class_optimizer_and_sizes():
    """The description has what the header of a report shows."""
    run = described(Net())
    assert (run.model, run.strategy, run.optimizer) == ("Net", repr(NormClip(1.0)), "SGD(lr=0.05, momentum=0.9)")
    assert run.numels == {"net.0.weight": 12, "net.0.bias": 3, "net.2.weight": 3, "net.2.bias": 1}
    assert run.seconds is None


def test_every_optimizer_is_named():
    """Optimizers are listed in order."""
    assert described(TwoOptimizers()).optimizer == "SGD(lr=0.1), SGD(lr=0.1)"


def test_an_optimizer_is_named_by_what_it_trains():
    """By the attribute that its parameters have in common, by two attributes, or not at all if it trains everything."""
    run = described(TwoOptimizers())
    assert run.trains == ["generator", "discriminator"]
    assert run.name_of(1) == "Optimizer 1 (discriminator)"
    assert run.name_of(7) == "Optimizer 7"
    assert described(Net()).trains == [""]
    module = Net()
    module.configure_optimizers = lambda: (
        torch.optim.SGD([*module.net[0].parameters()]),
        torch.optim.SGD([module.net[2].bias]),
        torch.optim.SGD([module.net[0].bias, module.net[2].bias]),
    )
    assert described(module).trains == ["net.0", "net.2", "net"]


def test_the_strategy_is_described_without_its_defaults():
    """The whole `repr` is kept beside it; whole numbers have no decimals, and nested strategies are short too."""
    run = described(Net())
    assert run.brief_strategy == "NormClip(max_norm=1)"
    chain = Chain([SkipSpikes(k=4.5), AutoClip(percentile=10.0, window=50)])
    assert chain.brief == "Chain(strategies=(SkipSpikes(k=4.5), AutoClip(percentile=10, window=50)))"
    assert GroupEmaClip({"a.*": 1.25, "*": 2.0}).brief == "GroupEmaClip(factors={'a.*': 1.25, '*': 2})"


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
    assert describe_run(trainer, Net(), strategies=[NoClip()]).optimizer == ""


def test_a_trainer_that_clips_is_rejected():
    """The message quotes both calls."""
    check_trainer_does_not_clip(quiet_trainer(), "GradientMonitor()")
    with pytest.raises(
        MisconfigurationException, match=r"gradient_clip_val=0\.5\)` and are using `GradientMonitor\(\)`"
    ):
        check_trainer_does_not_clip(quiet_trainer(gradient_clip_val=0.5), "GradientMonitor()")


def places(module, **options):
    monitor = GradientMonitor()
    quiet_trainer(callbacks=[monitor], max_epochs=2, **options).fit(module, loader())
    return [(record.epoch, record.first_batch, record.batch) for record in monitor.history]


def test_every_step_knows_its_epoch_and_batch():
    """Epochs and batches count from 0; a manual step belongs to the batch that makes it."""
    expected = [(epoch, batch, batch) for epoch in range(2) for batch in range(6)]
    assert places(Net()) == places(ManualNet()) == expected
    assert places(TwoOptimizers()) == [place for place in expected for _ in range(2)]


def test_a_step_over_accumulated_batches_knows_their_range():
    """The last step of an epoch has fewer batches."""
    assert places(Net(), accumulate_grad_batches=4) == [(0, 0, 3), (0, 4, 5), (1, 0, 3), (1, 4, 5)]


@pytest.mark.parametrize("rate", [0.05, torch.tensor(0.05)])
def test_every_step_knows_its_learning_rate(rate):
    """A scheduler changes the rate in place if it is a tensor; the record keeps what each step used."""

    class Scheduled(Net):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=rate)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]

    monitor = GradientMonitor()
    quiet_trainer(callbacks=[monitor], max_epochs=2).fit(Scheduled(), loader())
    rates = [record.learning_rate for record in monitor.history]
    assert rates == pytest.approx([0.05] * 6 + [0.025] * 6)
