"""`reset_momentum_`: clear the momentum that bad steps left in an optimizer."""

import torch
from torch.optim import Optimizer

# How torch's optimizers name their first moments: SGD and RMSprop use one, the Adam family the other.
_FIRST_MOMENTS = ("momentum_buffer", "exp_avg")


@torch.no_grad()
def reset_momentum_(optimizer: Optimizer) -> None:
    """Set an optimizer's first moments to zero in place; second moments and step counters stay.

    Args:
        optimizer: An optimizer such as SGD with momentum or Adam; one without first moments is left unchanged.
    """
    for state in optimizer.state.values():
        for name in _FIRST_MOMENTS:
            moment = state.get(name)
            if moment is not None:
                moment.zero_()
