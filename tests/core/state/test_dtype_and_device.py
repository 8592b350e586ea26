import io

import pytest
import torch
from torch import nn

from lightning_clip import Gradients
from lightning_clip.core.state import PerElement, PerParameter


def gradients(device: str = "cpu") -> Gradients:
    params = {name: nn.Parameter(torch.ones(2, dtype=torch.float64, device=device)) for name in ("a", "b")}
    for param in params.values():
        param.grad = torch.ones_like(param)
    return Gradients(list(params), list(params.values()))


def through_a_file(state: nn.Module, fresh: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(state.state_dict(), file)
    file.seek(0)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    return fresh


def test_a_number_per_parameter_keeps_float64_through_a_checkpoint():
    """So does NaN, which a rule may use for "not yet known"."""
    numbers = torch.tensor([1 / 3, torch.nan], dtype=torch.float64)
    state, grads = PerParameter(level=0.0), gradients()
    state.take(grads)
    state.put(grads, numbers)
    (restored,) = through_a_file(state, PerParameter(level=0.0)).take(grads)
    assert restored.dtype == torch.float64
    assert torch.equal(restored.nan_to_num(-1.0), numbers.nan_to_num(-1.0))


def test_a_number_per_element_keeps_float64_through_a_checkpoint():
    """Each tensor is stored under the name of its parameter."""
    state, grads = PerElement(), gradients()
    state.take(grads)[1].fill_(1 / 3)
    restored = through_a_file(state, PerElement()).take(grads)
    assert [value.tolist() for value in restored] == [[0.0, 0.0], [1 / 3, 1 / 3]]
    assert restored[1].dtype == torch.float64


@pytest.mark.parametrize("state", [PerParameter(level=0.0), PerElement()], ids=lambda state: type(state).__name__)
def test_state_follows_its_gradients_to_their_device(state):
    """A state that starts on one device moves to the device of later gradients."""
    state.take(gradients())
    assert {value.device.type for value in state.take(gradients("meta"))} == {"meta"}
