import pytest
import torch

from lightning_clip import AdaGC, AdaptiveMaxClip, Chain, NormalizeAdaGN, SpikeClip
from tests.support.scripted import SHAPES, feed, parameters, scripted_steps, scripted_weights

pytorch_optimizer = pytest.importorskip("pytorch_optimizer")
pytestmark = pytest.mark.parity


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("warmup_steps", [100, 20])
def test_the_papers_ada_gc_is_pytorch_optimizers(warmup_steps, dtype):
    """With a first-moment decay of 0, the first moment is the gradient that their optimizer clipped."""
    ours, theirs = parameters(scripted_weights(), dtype), parameters(scripted_weights(), dtype)
    optimizer = pytorch_optimizer.AdaGC(theirs.values(), betas=(0.0, 0.999), warmup_steps=warmup_steps, weight_decay=0)
    strategy = AdaGC.reference(warmup_steps=warmup_steps)
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-6}[dtype]  # they sum the total norm in float32
    for step, grads in enumerate(scripted_steps()):
        feed(strategy, ours, grads, step=step)
        for name, param in theirs.items():
            param.grad = torch.tensor(grads[name], dtype=dtype) if name in grads else None
        optimizer.step()
        for name in grads:
            left = optimizer.state[theirs[name]]["exp_avg"]
            torch.testing.assert_close(ours[name].grad, left, rtol=tolerance, atol=1e-12, msg=f"step {step}, {name}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_stable_spams_two_rules_are_pytorch_optimizers(dtype):
    """AdaClip, then AdaGN: with a first-moment decay of 0, the first moment is the gradient that they left."""
    ours, theirs = parameters(scripted_weights(), dtype), parameters(scripted_weights(), dtype)
    optimizer = pytorch_optimizer.StableSPAM(theirs.values(), 0.0, betas=(0.0, 0.999), update_proj_gap=10**9)
    strategy = Chain([AdaptiveMaxClip.reference(), NormalizeAdaGN.reference()])
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    for step, grads in enumerate(scripted_steps()):
        if len(grads) < len(SHAPES) or not all(grad.any() for grad in grads.values()):
            continue  # they count such steps for all parameters, and we for none
        feed(strategy, ours, grads, step=step)
        for name, param in theirs.items():
            param.grad = torch.tensor(grads[name], dtype=dtype)
        optimizer.step()
        for name, param in theirs.items():
            left = optimizer.state[param]["exp_avg"]
            torch.testing.assert_close(ours[name].grad, left, rtol=tolerance, atol=1e-12, msg=f"step {step}, {name}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_spike_clips_reference_is_pytorch_optimizers_spam(dtype):
    """Beside Adam with the same moments, the first moment is the gradient that they clipped, resets included."""
    ours, theirs = parameters(scripted_weights(), dtype), parameters(scripted_weights(), dtype)
    spam = pytorch_optimizer.SPAM(theirs.values(), 0.0, betas=(0.0, 0.999), threshold=20, update_proj_gap=60)
    adam = torch.optim.Adam(ours.values(), 0.0, betas=(0.0, 0.999))
    strategy, acted = SpikeClip.reference(20.0, reset_every=60), False
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-9}[dtype]
    steps = [grads for grads in scripted_steps() if len(grads) == len(SHAPES)]  # theirs counts steps for all at once
    for step, grads in enumerate(steps):
        feed(strategy, ours, grads, step=step, optimizer=adam)
        for name, param in theirs.items():
            param.grad = torch.tensor(grads[name], dtype=dtype)
        acted |= any(not torch.equal(ours[name].grad, param.grad) for name, param in theirs.items())
        adam.step()
        spam.step()
        for name, param in theirs.items():
            left = spam.state[param]["exp_avg"].view_as(param)
            torch.testing.assert_close(ours[name].grad, left, rtol=tolerance, atol=1e-9, msg=f"step {step}, {name}")
    assert acted
