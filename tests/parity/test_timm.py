import importlib.util
from pathlib import Path

import pytest
import torch

from lightning_clip import AGC
from tests.support.scripted import feed, parameters, scripted_steps, scripted_weights

spec = importlib.util.find_spec("timm")
if spec is None or spec.origin is None:
    pytest.skip("could not import 'timm': No module named 'timm'", allow_module_level=True)

pytestmark = pytest.mark.parity


def adaptive_clip_grad():
    """Load timm's function from its file alone: the package needs a torchvision that matches the torch build."""
    file = importlib.util.spec_from_file_location("timm_agc", Path(spec.origin).parent / "utils" / "agc.py")
    module = importlib.util.module_from_spec(file)
    file.loader.exec_module(module)
    return module.adaptive_clip_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("clip_factor", "norm_type"), [(0.01, 2.0), (0.3, 2.0), (0.3, 1.0), (0.3, float("inf"))])
def test_agc_is_timms_adaptive_clip_grad(clip_factor, norm_type, dtype):
    """Both give the same gradients over 300 steps, including zeros and a unit of zero weights."""
    clip = adaptive_clip_grad()
    ours, theirs = parameters(scripted_weights(), dtype), parameters(scripted_weights(), dtype)
    for step, grads in enumerate(scripted_steps()):
        feed(AGC.reference(clip_factor, norm_type=norm_type), ours, grads, step=step)
        for name, param in theirs.items():
            param.grad = torch.tensor(grads[name], dtype=dtype) if name in grads else None
        clip(theirs.values(), clip_factor, norm_type=norm_type)
        for name in grads:
            torch.testing.assert_close(ours[name].grad, theirs[name].grad, msg=f"step {step}, {name}")
