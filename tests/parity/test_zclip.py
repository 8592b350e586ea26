import pytest
import torch
from torch import nn

from lightning_clip import ZClip
from tests.support.scripted import feed, parameters, scripted_steps, scripted_weights

zclip = pytest.importorskip("zclip")
pytestmark = pytest.mark.parity

# one mode of ours is two options in the authors' package
MODES = {
    "adaptive": {"mode": "zscore", "clip_option": "adaptive_scaling"},
    "mean": {"mode": "zscore", "clip_option": "mean"},
    "threshold": {"mode": "percentile"},
}


class Holder(nn.Module):
    """A module with the given parameters, in their order."""

    def __init__(self, params: dict[str, nn.Parameter]) -> None:
        super().__init__()
        self.params = nn.ParameterList(params.values())


@pytest.mark.parametrize("skip_update_on_spike", [False, True])
@pytest.mark.parametrize("max_norm", [None, 1.0])
@pytest.mark.parametrize("mode", MODES)
def test_zclips_reference_is_the_authors_package(mode, max_norm, skip_update_on_spike):
    """Both give the same gradients at all nonzero steps, including spikes during and after warmup."""
    theirs = zclip.ZClip(max_grad_norm=max_norm, skip_update_on_spike=skip_update_on_spike, **MODES[mode])
    ours = ZClip.reference(mode=mode, max_norm=max_norm, skip_update_on_spike=skip_update_on_spike)
    params, others = parameters(scripted_weights()), parameters(scripted_weights())
    holder = Holder(others)
    acted, found, wanted = False, [], []
    for step, grads in enumerate(scripted_steps()):
        if not any(grad.any() for grad in grads.values()):
            continue  # their rule stores a zero norm; ours does not
        feed(ours, params, grads, step=step)
        for name, param in others.items():
            param.grad = torch.tensor(grads[name]) if name in grads else None
        theirs.step(holder)
        for name, grad in grads.items():
            acted |= not torch.equal(others[name].grad, torch.tensor(grad))
            found.append(params[name].grad.flatten().clone())
            wanted.append(others[name].grad.flatten().clone())
    assert acted
    torch.testing.assert_close(torch.cat(found), torch.cat(wanted), rtol=1e-9, atol=1e-12)
