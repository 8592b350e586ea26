"""`Evidence`: what the rules of a diagnosis look at."""

import re
from dataclasses import dataclass

from lightning_clip.core.record.aggregate import Aggregate
from lightning_clip.core.record.history import History
from lightning_clip.reports.growth import Growth, growth_of
from lightning_clip.reports.summary import OptimizerSummary, Summary

_ADAPTIVE = re.compile("adam|adagrad|adadelta|adafactor|rmsprop|lion|lamb", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The record of one optimizer.

    Attributes:
        history: The record of the run.
        summary: Its numbers.
        part: The numbers of this optimizer.
    """

    history: History
    summary: Summary
    part: OptimizerSummary

    @property
    def total(self) -> Aggregate:
        """The totals of this optimizer."""
        return self.history.aggregates[self.part.optimizer]

    @property
    def growth(self) -> Growth | None:
        """How far the norm grew before its end, if it exploded."""
        return growth_of(self.history, self.part.optimizer)

    @property
    def finite_steps(self) -> int:
        """Steps whose norm was finite."""
        return self.part.steps - self.part.nonfinite

    @property
    def is_adaptive(self) -> bool | None:
        """Whether the optimizer divides by a running norm of its own, as Adam does; `None` if unknown."""
        names = re.findall(r"(\w+)\(", self.summary.run.optimizer)
        if not names:
            return None
        return bool(_ADAPTIVE.search(names[min(self.part.optimizer, len(names) - 1)]))

    @property
    def threshold(self) -> float | None:
        """The latest threshold that is known."""
        own = (record for record in reversed(self.history.records) if record.optimizer == self.part.optimizer)
        return next((record.threshold for record in own if record.threshold is not None), None)

    def titled(self, title: str) -> str:
        """The title of a finding, with the optimizer where there are several."""
        return f"Optimizer {self.part.optimizer}: {title}" if len(self.summary.optimizers) > 1 else title
