"""`Globs` and `KnownNames`: parameters that are exchanged while a run goes on."""

import pytest
import torch
from torch import nn

from lightning_clip import Gradients, GroupNormClip
from lightning_clip.core.names import KnownNames


def grads_of(module, optimizer, names):
    for param in module.parameters():
        param.grad = torch.ones_like(param)
    return Gradients.of_optimizer(optimizer, names.of(module, optimizer))


def test_a_glob_that_loses_its_parameters_warns_once():
    """A limit on a head that was exchanged for another says that it no longer acts, and says it once."""
    module, names = nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 1)}), KnownNames()
    optimizer, strategy = torch.optim.SGD(module.parameters(), lr=0.1), GroupNormClip({"head.*": 0.1})
    strategy.decide(grads_of(module, optimizer, names))
    del module["head"]
    module["top"] = nn.Linear(2, 1)
    optimizer.param_groups[0]["params"] = list(module.parameters())
    grads = grads_of(module, optimizer, names)
    assert grads.names == ("body.weight", "body.bias", "top.weight", "top.bias")
    with pytest.warns(UserWarning, match=r"'head\.\*' no longer matches any parameter \('body.weight', .*add a glob"):
        strategy.decide(grads)
    strategy.decide(grads_of(module, optimizer, names))
