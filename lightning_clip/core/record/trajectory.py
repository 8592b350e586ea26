"""`Trajectory` and `MeanTrajectory`: downsampled curves over a whole run, in constant memory."""

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray


class _Curve:
    """A number for each of a bounded number of equally long intervals of a run.

    When all intervals are in use, neighbors are merged and each interval covers twice as many steps. Values enter one
    by one in the order of the steps, so that the curve does not depend on how a run is batched.

    Args:
        stretches: The largest number of intervals, even.

    Attributes:
        stride: The number of steps per interval.
        steps: The number of steps added so far.
    """

    _merge: ClassVar[np.ufunc]
    _empty: ClassVar[float]

    def __init__(self, stretches: int) -> None:
        self.stride = 1
        self.steps = 0
        self._peaks: NDArray[np.float64] = np.full(stretches, self._empty)

    def _add(self, array: NDArray[np.float64]) -> None:
        while (room := self.stride * len(self._peaks) - self.steps) < len(array):
            self._fill(array[:room])
            array = array[room:]
            half = self._merge(self._peaks[::2], self._peaks[1::2])
            self._peaks = np.concatenate([half, np.full(len(half), self._empty)])
            self.stride *= 2
        self._fill(array)

    def _fill(self, array: NDArray[np.float64]) -> None:
        self._merge.at(self._peaks, (self.steps + np.arange(len(array))) // self.stride, array)
        self.steps += len(array)

    def state_dict(self) -> dict[str, Any]:
        """Return the intervals and counters."""
        used = self._peaks[: -(-self.steps // self.stride)]
        return {
            "stride": self.stride,
            "steps": self.steps,
            "peaks": torch.from_numpy(used.copy()),
            "stretches": len(self._peaks),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.stride, self.steps = state["stride"], state["steps"]
        used = state["peaks"].numpy()  # all of them in earlier versions
        self._peaks = np.full(state.get("stretches", len(used)), self._empty)
        self._peaks[: len(used)] = used


class Trajectory(_Curve):
    """The maximum over each interval.

    Args:
        stretches: The largest number of intervals, even.

    Example:
        >>> trajectory = Trajectory(stretches=4)
        >>> trajectory.add([1.0, 5.0, 2.0, 3.0, 4.0, 0.5])
        >>> trajectory.stride, trajectory.values().tolist()
        (2, [5.0, 3.0, 4.0])
    """

    _merge = np.maximum
    _empty = -np.inf

    def __init__(self, stretches: int = 240) -> None:
        super().__init__(stretches)

    def add(self, values: ArrayLike) -> None:
        """Append values, one per step.

        Args:
            values: The values, `(n,)`; NaN counts as infinity.
        """
        self._add(np.nan_to_num(np.asarray(values, dtype=np.float64), nan=np.inf, posinf=np.inf))

    def values(self) -> NDArray[np.float64]:
        """Return the maximum of each interval so far, `(m,)`, in order; infinity if it contained NaN or infinity."""
        return self._peaks[: -(-self.steps // self.stride)].copy()


class MeanTrajectory(_Curve):
    """The mean over each interval.

    Args:
        stretches: The largest number of intervals, even.

    Example:
        >>> trajectory = MeanTrajectory(stretches=4)
        >>> trajectory.add([1.0, 5.0, 2.0, 3.0, 4.0])
        >>> trajectory.values().tolist(), trajectory.lengths().tolist()
        ([3.0, 2.5, 4.0], [2, 2, 1])
    """

    _merge = np.add
    _empty = 0.0

    def __init__(self, stretches: int = 1_000) -> None:
        super().__init__(stretches)

    def add(self, values: ArrayLike) -> None:
        """Append values, one per step.

        Args:
            values: Finite values, `(n,)`.
        """
        with np.errstate(over="ignore"):
            self._add(np.asarray(values, dtype=np.float64))

    def lengths(self) -> NDArray[np.int64]:
        """Return the number of steps in each interval so far, `(m,)`: `stride`, except in the last."""
        return np.diff(np.append(np.arange(0, self.steps, self.stride), self.steps))

    def values(self) -> NDArray[np.float64]:
        """Return the mean of each interval so far, `(m,)`, in order."""
        lengths = self.lengths()
        return self._peaks[: len(lengths)] / lengths
