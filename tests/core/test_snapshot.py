"""`Snapshot`: copies of the training state."""

import torch
from torch import nn

from lightning_clip.core.snapshot import Snapshot, non_finite_tensors


class Partial(nn.Linear):
    """Has a buffer that is not saved, and a `state_dict` that is empty."""

    def __init__(self) -> None:
        super().__init__(2, 1)
        self.register_buffer("table", torch.ones(3), persistent=False)

    def state_dict(self, *args, **options):
        return {}


def stepped(layer, optimizer):
    optimizer.zero_grad()
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()


def test_parameters_and_buffers_are_restored_in_place():
    """The tensors stay the same objects, whatever `state_dict` says."""
    layer = Partial()
    tensors = [layer.weight, layer.bias, layer.table]
    values = [tensor.detach().clone() for tensor in tensors]
    snapshot = Snapshot([layer], step=3)
    for tensor in tensors:
        tensor.data.fill_(torch.nan)
    snapshot.restore([layer])
    assert all(torch.equal(tensor, value) for tensor, value in zip(tensors, values, strict=True))
    assert tensors[0] is layer.weight


def test_an_optimizer_that_has_grown_is_restored():
    """Groups and parameters that were added keep their options, and lose the state they had collected."""
    layer, more, third = nn.Linear(2, 1), nn.Linear(2, 1), nn.Parameter(torch.ones(1))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    stepped(layer, optimizer)
    snapshot = Snapshot([optimizer], step=1)
    expected = optimizer.state[layer.weight]["exp_avg"].clone()
    optimizer.param_groups[0]["params"].insert(0, third)
    optimizer.add_param_group({"params": more.parameters(), "lr": 0.3})
    optimizer.param_groups[0]["lr"] = 9.0
    for module in (layer, more):
        stepped(module, optimizer)
    assert not snapshot.fits([optimizer])
    snapshot.restore([optimizer])
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.3]
    assert torch.equal(optimizer.state[layer.weight]["exp_avg"], expected)
    assert not optimizer.state.get(more.weight)
    stepped(more, optimizer)


def test_only_the_copied_objects_are_restored():
    """An object that replaced a copied one is left as it is, and the snapshot no longer fits."""
    layer, other = nn.Linear(2, 1), nn.Linear(2, 1)
    snapshot, before = Snapshot([layer], step=0), other.weight.detach().clone()
    snapshot.restore([other])
    assert torch.equal(other.weight, before)
    assert snapshot.fits([layer])
    assert not snapshot.fits([other])


def test_it_names_non_finite_tensors_and_restores_them_alone():
    """Tensors are named by the position of their network and their name."""
    first, second = nn.BatchNorm1d(2), nn.Linear(2, 1)
    good = Snapshot([first, second], step=0)
    first.running_mean.fill_(torch.nan)
    first.running_var.fill_(5)
    second.weight.data.fill_(torch.inf)
    assert non_finite_tensors([first, second]) == {(0, "running_mean"), (1, "weight")}
    good.restore_tensors([first, second], {(0, "running_mean")})
    assert first.running_mean.tolist() == [0, 0]
    assert first.running_var.tolist() == [5, 5]
    assert second.weight.isinf().all()
