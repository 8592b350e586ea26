"""`mackey_glass`: a chaotic series, the default data of the data modules that read a series."""

import numpy as np
from numpy.typing import NDArray


def mackey_glass(length: int, *, delay: float = 17.0) -> NDArray[np.float64]:
    """The Mackey-Glass series, one value per time unit.

    `x' = 0.2 x(t - delay) / (1 + x(t - delay)^10) - 0.1 x`, with `x = 1.2` up to time 0, integrated by Euler's method
    in steps of 0.1. The first 500 values are discarded.

    Args:
        length: Number of values.
        delay: Delay, in time units; the series is chaotic from about 17.

    Returns:
        `(length,)`, between about 0.4 and 1.3.

    Example:
        >>> mackey_glass(3).round(3).tolist()
        [1.072, 1.018, 0.966]

    References:
        Michael Mackey and Leon Glass, "Oscillation and Chaos in Physiological Control Systems", 1977,
        https://doi.org/10.1126/science.267326.
    """
    per_unit, discarded = 10, 500
    lag = round(delay * per_unit)
    values = [1.2] * (lag + 1)
    for _ in range((length + discarded) * per_unit - 1):
        now, past = values[-1], values[-1 - lag]
        values.append(now + (0.2 * past / (1 + past**10) - 0.1 * now) / per_unit)
    return np.array(values[lag:][discarded * per_unit :: per_unit][:length])
