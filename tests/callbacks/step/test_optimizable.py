"""Optimizers that are no class of PyTorch: Lightning takes any object that has the data of one."""

import pytest
import torch

from lightning_clip import (
    DivergenceRollback,
    GradientClipping,
    GradientMonitor,
    NonFiniteGuard,
    NormClip,
    RichGradientReport,
    UpdateMonitor,
)
from tests.support.training import ManualNet, loader, quiet_trainer


class Wrapper:
    """Somebody's optimizer around one of PyTorch: without its class and without its hooks."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.inner = inner
        self.param_groups, self.defaults, self.state = inner.param_groups, inner.defaults, inner.state

    def step(self, closure=None):
        return self.inner.step(closure)

    def zero_grad(self, set_to_none=True):
        self.inner.zero_grad(set_to_none)

    def state_dict(self):
        return self.inner.state_dict()

    def load_state_dict(self, state):
        self.inner.load_state_dict(state)


class Wrapped(ManualNet):
    def configure_optimizers(self):
        return Wrapper(super().configure_optimizers())


@pytest.mark.parametrize(
    "make",
    [
        lambda: [NonFiniteGuard(), GradientClipping(NormClip(0.5)), GradientMonitor()],
        lambda: [GradientClipping(NormClip(0.5)), RichGradientReport()],
        lambda: [GradientClipping(NormClip(0.5)), DivergenceRollback(snapshot_every_n_steps=2)],
    ],
    ids=["guard", "report", "rollback"],
)
def test_it_is_clipped_like_one_of_pytorch(make, capsys):
    weights = []
    for module in (ManualNet(), Wrapped()):
        trainer = quiet_trainer(callbacks=make(), max_epochs=1)
        trainer.fit(module, loader())
        weights.append(torch.cat([param.detach().flatten() for param in module.parameters()]))
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def test_without_hooks_the_updates_are_not_measured_and_one_warning_says_so():
    monitor = UpdateMonitor(1)
    with pytest.warns(UserWarning, match="UpdateMonitor cannot measure step 0 and stands aside") as caught:
        quiet_trainer(callbacks=[monitor], max_epochs=1).fit(Wrapped(), loader())
    assert sum("UpdateMonitor" in str(one.message) for one in caught) == 1
    assert monitor.latest is None
