import os

import pytest
import torch

from lightning_clip import NormClip, PerParameterNormClip, ValueClip
from tests.support.scripted import SHAPES, feed, parameters, scripted_steps, scripted_weights

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
pytestmark = pytest.mark.parity

PAIRS = {
    "clipnorm": lambda c: PerParameterNormClip(c),
    "global_clipnorm": lambda c: NormClip(c, eps=0.0),
    "clipvalue": lambda c: ValueClip(c),
}


@pytest.mark.parametrize("limit", [0.05, 1.0])
@pytest.mark.parametrize("option", PAIRS)
def test_a_strategy_is_the_keras_option(option, limit):
    """One SGD step from zero weights with a learning rate of 1 shows the gradients that Keras clipped."""
    strategy = PAIRS[option](limit)
    params = parameters(scripted_weights(), torch.float32)
    for step, grads in enumerate(scripted_steps()):
        if len(grads) < len(SHAPES):
            continue  # Keras warns about a variable without a gradient
        variables = [keras.Variable(torch.zeros(shape)) for shape in SHAPES.values()]
        optimizer = keras.optimizers.SGD(learning_rate=1.0, **{option: limit})
        optimizer.apply([torch.tensor(grads[name], dtype=torch.float32) for name in SHAPES], variables)
        feed(strategy, params, grads, step=step)
        for name, variable in zip(SHAPES, variables, strict=True):
            left = -variable.value.detach().cpu()
            torch.testing.assert_close(params[name].grad, left, rtol=1e-5, atol=1e-7, msg=f"step {step}, {name}")
