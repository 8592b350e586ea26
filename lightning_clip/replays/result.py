"""`StepTaken`: what was found out about a bad step, as attributes and as plain data."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from lightning_clip.replays.capture import Capture
from lightning_clip.replays.outcomes import Outcome
from lightning_clip.replays.samples import SampleNorm

FORMAT = "lightning-clip replay"
"""What `"format"` says in the plain data."""


@dataclass(frozen=True, kw_only=True)
class StepTaken:
    """A bad step taken again.

    Attributes:
        capture: What was recorded.
        losses: The losses of all backward passes, this time.
        norm: The total norm of the gradient, this time.
        norms: The norm of each gradient, by parameter.
        first_non_finite: The module that was the first with a NaN or infinite output or gradient, and which of the two;
            `None` if there was none.
        samples: The gradient norm of each sample alone; empty if they could not be told apart.
        how: How these were computed.
        worst: The sample with the largest one; `None` without samples.
        values: The numbers of the worst sample, by tensor of the batch.
        worst_norms: The norm of each of its gradients, by parameter.
        gates: The norm of each of its gradients by gate, by parameter.
        by_step: The norm of its gradient at the inputs of each recurrent layer, by time step.
        outcomes: What each strategy would have done.
        notes: What else is to be known.
    """

    capture: Capture
    losses: list[float]
    norm: float
    norms: dict[str, float]
    first_non_finite: tuple[str, str] | None = None
    samples: list[SampleNorm] = field(default_factory=list)
    how: str = ""
    worst: SampleNorm | None = None
    values: dict[str, list[float]] = field(default_factory=dict)
    worst_norms: dict[str, float] = field(default_factory=dict)
    gates: dict[str, dict[str, float]] = field(default_factory=dict)
    by_step: dict[str, list[float]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_exact(self) -> bool:
        """Whether losses and norms equal the recorded ones, bit for bit."""
        return self.difference == 0

    @property
    def difference(self) -> float:
        """The largest relative difference from the recorded losses and norm; infinite if their number differs.

        With several processes, only the losses are compared.
        """
        pairs = list(zip(self.losses, self.capture.losses, strict=False))
        if len(self.losses) != len(self.capture.losses):
            return math.inf
        if self.capture.world_size == 1:
            pairs.append((self.norm, self.capture.norm))
        return max((_difference(now, then) for now, then in pairs), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data that JSON can hold; what is NaN or infinite is `None`."""
        told = ("path", "reason", "model", "step", "epoch", "first_batch", "batch", "chunks", "optimizer", "precision")
        data: dict[str, Any] = {
            "format": FORMAT,
            "version": 1,
            "capture": {name: getattr(self.capture, name) for name in told},
            "is_exact": self.is_exact,
            "difference": self.difference,
            "losses": {"recorded": self.capture.losses, "now": self.losses},
            "norm": {"recorded": self.capture.norm, "now": self.norm},
            "norms": self.norms,
            "first_non_finite": self.first_non_finite,
            "samples": [asdict(sample) for sample in self.samples],
            "worst": None if self.worst is None else asdict(self.worst),
            "values": self.values,
            "worst_norms": self.worst_norms,
            "gates": self.gates,
            "by_step": self.by_step,
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
            "notes": self.notes,
        }
        plain: dict[str, Any] = _finite(data)
        return plain

    def ranked(self) -> Iterator[SampleNorm]:
        """The samples, the largest gradient first; NaN and infinity come before."""
        return iter(sorted(self.samples, key=lambda one: -one.norm if math.isfinite(one.norm) else -math.inf))


def _difference(now: float, then: float) -> float:
    if now == then or (math.isnan(now) and math.isnan(then)):
        return 0.0
    scale = max(abs(now), abs(then))
    return abs(now - then) / scale if math.isfinite(scale) else math.inf


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
