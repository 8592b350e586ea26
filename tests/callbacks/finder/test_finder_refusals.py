"""`ClipThresholdFinder` where a run cannot be measured: it says so, and nothing is left behind."""

import re

import pytest
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn

from lightning_clip import AutoClip, ClipThresholdFinder, GradientClipping, NormClip
from tests.support.training import Net, assert_same_weights, loader, quiet_trainer, weights_of


def fit(module, *callbacks):
    trainer = quiet_trainer(callbacks=list(callbacks), max_epochs=3)
    trainer.fit(module, loader())
    return trainer


def test_a_checkpoint_without_a_threshold_is_refused(tmp_path):
    """Only the start of a run can be measured, and nobody trains at a threshold that was not found."""
    fit(Net(), GradientClipping()).save_checkpoint(tmp_path / "a.ckpt")
    trainer = quiet_trainer(callbacks=[GradientClipping(), ClipThresholdFinder()], max_epochs=4)
    with pytest.raises(MisconfigurationException, match=r"a\.ckpt was saved without this callback.* Write the thresh"):
        trainer.fit(Net(), loader(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)


def test_lazy_parameters_are_refused():
    """They get their values at the first batch, and would keep those of a measured one."""
    module = Net()
    module.net[0] = nn.LazyLinear(3)
    with pytest.raises(MisconfigurationException, match=r"net\.0\.weight has no values .* Pass one batch through"):
        fit(module, ClipThresholdFinder(), GradientClipping())


class Poisoned(Net):
    """Its loss is NaN from a step on, or grows without end."""

    def __init__(self, step: int, factor: float = float("nan")) -> None:
        super().__init__("adam", lr=0.001)
        self.step, self.factor = step, factor

    def training_step(self, batch, batch_idx):
        scale = self.factor ** (self.global_step - self.step + 1) if self.global_step >= self.step else 1.0
        return super().training_step(batch, batch_idx) * scale


def test_a_run_that_diverges_while_measuring_is_reported():
    """The suggestion comes from the steps before."""
    finder, healthy = ClipThresholdFinder(num_steps=12), ClipThresholdFinder(num_steps=4)
    with pytest.warns(UserWarning, match=r"became NaN in step 4; the 4 steps before suggest NormClip\("):
        fit(Poisoned(4), finder, GradientClipping())
    fit(Net("adam", lr=0.001), healthy, GradientClipping())
    assert finder.thresholds == healthy.thresholds


def test_a_norm_that_explodes_is_reported():
    """Three norms in a row that are a hundred times above the median have exploded."""
    finder = ClipThresholdFinder(num_steps=12)
    with pytest.warns(UserWarning, match=r"the norm exploded from step 5 on, to .*; the 5 steps before suggest"):
        fit(Poisoned(4, 30.0), finder, GradientClipping())


def test_a_run_that_is_sick_from_the_start_keeps_the_given_threshold():
    """There is nothing to suggest, and the warning says what stays."""
    finder, clipping = ClipThresholdFinder(num_steps=3), GradientClipping(NormClip(2.5))
    with pytest.warns(UserWarning, match=r"became NaN in step 0, so nothing was found; NormClip\(max_norm=2\.5"):
        fit(Poisoned(0), finder, clipping)
    assert finder.thresholds == [2.5]


@pytest.mark.parametrize(
    ("callbacks", "found"),
    [
        ([], "found none"),
        ([GradientClipping(AutoClip())], r"found GradientClipping\(AutoClip\("),
        (
            [GradientClipping(), GradientClipping(NormClip(), name="b")],
            r"found GradientClipping\(NormClip\(.*, Gradient",
        ),
    ],
    ids=["none", "adaptive", "two"],
)
def test_where_there_is_no_threshold_to_set_it_says_so(callbacks, found):
    """One line says what is needed and what was found."""
    with pytest.raises(MisconfigurationException, match=rf"sets the threshold of one Gradient.*{found}.*Add one, or"):
        fit(Net(), *callbacks, ClipThresholdFinder())


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"num_steps": 0}, "num_steps=0"),
        ({"statistic": "p101"}, "statistic must be 'mean', 'median' or a percentile from 'p0' to 'p100'"),
        ({"statistic": "P90"}, "statistic must be"),
        ({"max_update_ratio": 0.0}, "max_update_ratio"),
    ],
)
def test_bad_arguments(arguments, rule):
    """An argument that is out of range is one line."""
    with pytest.raises(ValueError, match=re.escape(rule)):
        ClipThresholdFinder(**arguments)


def test_an_error_in_a_measured_step_leaves_the_trainer_as_it_was():
    """The user's exception comes through, and callbacks, loops and loggers are the trainer's own again."""

    class Broken(Net):
        def training_step(self, batch, batch_idx):
            if batch_idx == 2:
                raise RuntimeError("a defect")
            return super().training_step(batch, batch_idx)

    module, clipping, finder = Broken(), GradientClipping(), ClipThresholdFinder()
    before = weights_of(module)
    trainer = quiet_trainer(callbacks=[clipping, finder], max_epochs=1)
    loop = trainer.fit_loop
    with pytest.raises(RuntimeError, match="a defect"):
        trainer.fit(module, loader())
    assert trainer.fit_loop is loop
    assert {clipping, finder} <= set(trainer.callbacks)
    assert_same_weights(module, before)
