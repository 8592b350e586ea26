"""`RunResult`: what came out of one run of a study."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came out of one run of a study, as plain numbers.

    Attributes:
        model: The model's name in the study.
        strategy: The strategy's name in the study.
        seed: The seed of the run.
        diverged: Whether a gradient, the loss or a final metric was not finite.
        diverged_at_step: The optimizer step at which that was seen first; `None` if it was not.
        steps: Optimizer steps made.
        seconds: Duration of the training, in seconds.
        clipped_fraction: Share of the finite steps at which clipping bound, in [0, 1].
        metrics: Final metrics by name; `None` for a run that diverged.
        axes: What else tells this run apart, for instance `{"length": 100}`.
    """

    model: str
    strategy: str
    seed: int
    diverged: bool
    diverged_at_step: int | None
    steps: int
    seconds: float
    clipped_fraction: float
    metrics: dict[str, float | None]
    axes: dict[str, float | str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells the run apart from the others of its study."""
        return self.model, self.strategy, self.seed
