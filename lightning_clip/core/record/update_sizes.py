"""`UpdateSizes`: how long the updates of one step were beside the weights, as a measurement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from lightning_clip.core.record.measurements import Measurement

UPDATE_SIZES = "update-sizes"
"""The kind of the measurements."""

MOST_PARAMETERS = 64
"""The number of parameters that one measurement lists."""


@dataclass(frozen=True, slots=True)
class UpdateSizes:
    """The weights before one step of an optimizer and what the step changed; norms are 2-norms.

    Attributes:
        step: The number of optimizer steps completed before this one.
        optimizer: The optimizer's position in `trainer.optimizers`.
        weight_norm: The norm of all weights of the optimizer before the step.
        update_norm: The norm of what the step changed.
        names: The `n` parameters with the largest update ratio, the largest first; those of zeros come last.
        dims: The number of dimensions of each, `(n,)`.
        weight_norms: The norm of each before the step, `(n,)`.
        update_norms: The norm of what the step changed in each, `(n,)`.
    """

    step: int
    optimizer: int
    weight_norm: float
    update_norm: float
    names: Sequence[str]
    dims: Sequence[int]
    weight_norms: Sequence[float]
    update_norms: Sequence[float]

    @property
    def update_ratio(self) -> float | None:
        """‖Δw‖ / ‖w‖ over all parameters; `None` if all weights are 0."""
        return self.update_norm / self.weight_norm if self.weight_norm else None

    @property
    def update_ratios(self) -> dict[str, float]:
        """‖Δw‖ / ‖w‖ by parameter, without parameters of zeros."""
        norms = zip(self.names, self.update_norms, self.weight_norms, strict=True)
        return {name: update / weight for name, update, weight in norms if weight}

    def to_measurement(self) -> Measurement:
        """Return the measurement that `of_measurement` reads."""
        data: dict[str, Any] = {
            "optimizer": self.optimizer,
            "weight_norm": self.weight_norm,
            "update_norm": self.update_norm,
            "names": list(self.names),
            "dims": list(self.dims),
            "weight_norms": list(self.weight_norms),
            "update_norms": list(self.update_norms),
        }
        return Measurement(self.step, UPDATE_SIZES, data)

    @classmethod
    def of_measurement(cls, measurement: Measurement) -> Self:
        """Read a measurement.

        Args:
            measurement: The result of `to_measurement`.
        """
        return cls(step=measurement.step, **cast("dict[str, Any]", measurement.data))

    def largest_first(self, at_most: int = MOST_PARAMETERS) -> Self:
        """Return the same with at most so many parameters, those with the largest update ratio.

        Args:
            at_most: The number of parameters to keep.
        """
        ratios = self.update_ratios
        order = sorted(range(len(self.names)), key=lambda i: -ratios.get(self.names[i], -1.0))[:at_most]
        columns = (
            [column[i] for i in order] for column in (self.names, self.dims, self.weight_norms, self.update_norms)
        )
        return type(self)(self.step, self.optimizer, self.weight_norm, self.update_norm, *columns)  # type: ignore[arg-type]
