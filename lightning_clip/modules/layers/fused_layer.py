"""`run_fused`: a layer of torch, and what to use instead where this CPU cannot run it."""

from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import nn

_NO_KERNEL = "could not create a primitive"


def run_fused(layer: nn.RNNBase, inputs: Any, hiddens: Any) -> tuple[Any, Any]:
    """Run a recurrent layer.

    Under autocast torch hands an LSTM to oneDNN, which has no kernel in bfloat16 for a CPU without AVX-512, and hardly
    anywhere one in float16.

    Args:
        layer: `nn.RNN`, `nn.LSTM`, `nn.GRU`, or a subclass of one.
        inputs: As the layer takes them, packed too.
        hiddens: State before the first step, or `None` for zeros.

    Returns:
        The outputs and the state after the last step.

    Raises:
        MisconfigurationException: This CPU cannot run an LSTM under autocast.
    """
    try:
        outputs, hiddens = layer(inputs, hiddens)
    except RuntimeError as error:
        if layer.mode == "LSTM" and _NO_KERNEL in str(error) and torch.is_autocast_enabled("cpu"):
            precision = "bf16-mixed" if torch.get_autocast_dtype("cpu") == torch.bfloat16 else "16-mixed"
            raise MisconfigurationException(
                f"This CPU has no kernel for nn.LSTM in mixed precision: in place of precision={precision!r} use "
                "Trainer(precision='bf16-true') or '32-true', or in place of the LSTM a GRU."
            ) from error
        raise
    return outputs, hiddens
