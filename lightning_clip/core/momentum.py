"""`reset_momentum_`: forget the direction that bad steps have left in an optimizer."""

import torch
from torch.optim import Optimizer

# The first moments of the optimizers of torch: SGD and RMSprop keep the one, the Adam family the other.
_FIRST_MOMENTS = ("momentum_buffer", "exp_avg")


@torch.no_grad()
def reset_momentum_(optimizer: Optimizer) -> None:
    """Set the first moments of an optimizer to zero, in place; second moments and step counters stay.

    Args:
        optimizer: For instance SGD with momentum, or Adam; one without first moments is left as it is.
    """
    for state in optimizer.state.values():
        for name in _FIRST_MOMENTS:
            moment = state.get(name)
            if moment is not None:
                moment.zero_()
