import numpy as np
import pytest
import torch

from lightning_clip import AGC, GroupNormClip, NormClip, ValueClip
from tests.support.scripted import SHAPES, feed, parameters, scripted_steps, scripted_weights

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
pytestmark = pytest.mark.parity

# optax reduces linear layers along their first dimension and convolutions along all but the last
JAX_UNITS = {"linear.weight": (0,), "conv.weight": (0, 1, 2)}

PAIRS = {
    "clip_by_global_norm": lambda c: (optax.clip_by_global_norm(c), NormClip(c, eps=0.0)),
    "clip": lambda c: (optax.clip(c), ValueClip(c)),
    "clip_by_block_rms": lambda c: (optax.clip_by_block_rms(c), GroupNormClip(dict.fromkeys(SHAPES, c), kind="rms")),
    "adaptive_grad_clip": lambda c: (optax.adaptive_grad_clip(c, eps=1e-3), AGC(c, unit_axes=JAX_UNITS)),
}


@pytest.mark.parametrize("limit", [0.01, 0.5])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_strategy_is_its_optax_transformation(pair, limit):
    """Both give the same gradients over 300 steps in float64."""
    theirs, strategy = pair(limit)
    weights = scripted_weights()
    params = parameters(weights)
    with jax.enable_x64(True):
        for step, grads in enumerate(scripted_steps()):
            held = {name: weights[name] for name in grads}
            expected, _ = theirs.update(grads, theirs.init(held), held)
            feed(strategy, params, grads, step=step)
            for name, value in expected.items():
                actual = params[name].grad
                torch.testing.assert_close(actual, torch.tensor(np.array(value)), msg=f"step {step}, {name}")
