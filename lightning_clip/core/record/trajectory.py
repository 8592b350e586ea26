"""`Trajectory`: a downsampled curve of a norm over a whole run, in constant memory."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray


class Trajectory:
    """The maximum over each of a bounded number of equally long intervals of a run.

    When all intervals are in use, neighbors are merged and each interval covers twice as many steps.

    Args:
        stretches: The largest number of intervals, even.

    Attributes:
        stride: The number of steps per interval.
        steps: The number of steps added so far.

    Example:
        >>> trajectory = Trajectory(stretches=4)
        >>> trajectory.add([1.0, 5.0, 2.0, 3.0, 4.0, 0.5])
        >>> trajectory.stride, trajectory.values().tolist()
        (2, [5.0, 3.0, 4.0])
    """

    def __init__(self, stretches: int = 240) -> None:
        self.stride = 1
        self.steps = 0
        self._peaks: NDArray[np.float64] = np.full(stretches, -np.inf)

    def add(self, values: ArrayLike) -> None:
        """Append values, one per step.

        Args:
            values: The values, `(n,)`; NaN counts as infinity.
        """
        array = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=np.inf, posinf=np.inf)
        while self.steps + len(array) > self.stride * len(self._peaks):
            half = self._peaks.reshape(-1, 2).max(axis=1)
            self._peaks = np.concatenate([half, np.full(len(half), -np.inf)])
            self.stride *= 2
        positions = (self.steps + np.arange(len(array))) // self.stride
        np.maximum.at(self._peaks, positions, array)
        self.steps += len(array)

    def values(self) -> NDArray[np.float64]:
        """Return the maximum of each interval so far, `(m,)`, in order; infinity if it contained NaN or infinity."""
        return self._peaks[: -(-self.steps // self.stride)].copy()

    def state_dict(self) -> dict[str, Any]:
        """Return the intervals and counters."""
        return {"stride": self.stride, "steps": self.steps, "peaks": torch.from_numpy(self._peaks.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.stride, self.steps = state["stride"], state["steps"]
        self._peaks = state["peaks"].numpy().copy()
