"""`Knob`: the argument of the strategy in force that decides how often it clips, and the value that a run suggests."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from lightning_clip.reports.diagnosis.lines import Lines, clip_lines, strategy_lines
from lightning_clip.reports.evidence import Evidence, OptimizerEvidence
from lightning_clip.reports.formats import literal, number, percent

_CALL = re.compile(r"^(\w+)\((?:(\w+)=)?(-?[\d.e+-]+|inf)?")

# Strategies whose first argument is a total norm: the distribution of a run's norms says what a value would do.
_NORMS = {"NormClip": "max_norm", "SoftClip": "max_norm"}

# Strategies that clip a share of the steps by design: that share, and the argument for one step in ten.
_BY_DESIGN: Mapping[str, tuple[Callable[[float], float], str]] = {
    "AutoClip": (lambda percentile: 1 - percentile / 100, "percentile=90.0"),
    "QuantileClip": (lambda quantile: 1 - quantile, "quantile=0.9"),
}


@dataclass(frozen=True, slots=True)
class Knob:
    """The first argument of a strategy.

    Attributes:
        strategy: The class of the strategy.
        argument: The name of the argument; empty if it is not known.
        value: Its value; `None` if it is not a number.
    """

    strategy: str
    argument: str
    value: float | None

    @classmethod
    def of(cls, evidence: Evidence, one: OptimizerEvidence) -> Self | None:
        """Read the strategy that was in force.

        Args:
            evidence: The record of a run, summarized.
            one: The optimizer.

        Returns:
            The knob; `None` if several strategies were in force, or the record does not say which.
        """
        found = _CALL.match(evidence.run.strategy) if len(one.part.strategies) == 1 else None
        if found is None or not next(iter(one.part.strategies)).startswith(found[1]):
            return None
        return cls(found[1], found[2] or _NORMS.get(found[1], ""), float(found[3]) if found[3] else None)

    @property
    def call(self) -> str:
        """The strategy with this argument, as it is written: `AutoClip(percentile=10)`."""
        return f"{self.strategy}({self.argument}={number(self.value)})"

    @property
    def designed_fraction(self) -> float | None:
        """The fraction of the steps that the strategy clips by design, in [0, 1]; `None` if there is none."""
        known = _BY_DESIGN.get(self.strategy)
        return known[0](self.value) if known is not None and self.value is not None else None

    def one_in_ten(self, evidence: Evidence, one: OptimizerEvidence) -> tuple[str, Lines]:
        """Say what to write so that about one step in ten is clipped, and the lines that do it.

        Args:
            evidence: The record of a run, summarized.
            one: The optimizer whose norms decide.
        """
        known, goal = _BY_DESIGN.get(self.strategy), one.part.suggested_threshold
        if known is not None:
            return f"{known[1].removesuffix('.0')} clips about one step in ten", strategy_lines(self.strategy, known[1])
        if goal is None:
            return "", ()
        share = percent(one.total.quantile_sketch.fraction_above(float(literal(goal))))
        does = f"the P90 of these norms, would clip {share} of these steps"
        if len(evidence.optimizers) > 1:
            return (
                f"a limit of {literal(goal)}, {does}. One callback limits each optimizer by its own norms",
                clip_lines(evidence),
            )
        if self.strategy in _NORMS:
            lines = strategy_lines(self.strategy, f"{self.argument}={float(literal(goal))!r}")
            return f"{self.argument}={literal(goal)}, {does}", lines
        return f"NormClip({literal(goal)}), {does}", clip_lines(evidence)


UNKNOWN = Knob("", "", None)
"""What is suggested where the strategy in force is not known."""
