"""`run_fused`: runs a recurrent layer of torch, and says what to use instead if this CPU cannot."""

from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import nn

_NO_KERNEL = "could not create a primitive"


def run_fused(layer: nn.RNNBase, inputs: Any, hiddens: Any) -> tuple[Any, Any]:
    """Run a recurrent layer.

    Under autocast, torch hands an LSTM to oneDNN, which has no bfloat16 kernel for a CPU without AVX-512, and a float16
    kernel for very few CPUs.

    Args:
        layer: `nn.RNN`, `nn.LSTM`, `nn.GRU`, or a subclass of one.
        inputs: The inputs of the layer, packed or not.
        hiddens: The state before the first step, or `None` for zeros.

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
                f"Trainer(precision={precision!r}): this CPU has no kernel for nn.LSTM in mixed precision. "
                "Use precision='bf16-true' or '32-true', or a GRU instead of the LSTM."
            ) from error
        raise
    return outputs, hiddens
