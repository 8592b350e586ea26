"""`RunResult`: the result of one run of a study."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["RunResult"]

Axes = Mapping[str, float | str]
RunKey = tuple[str, str, tuple[tuple[str, float | str], ...], int]


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of one run of a study, as plain numbers.

    Attributes:
        model: The model's name in the study.
        strategy: The strategy's name in the study.
        seed: The seed of the run.
        diverged: Whether a gradient, the loss or a final metric became NaN or infinite.
        diverged_at_step: The optimizer step at which that happened first; `None` if it did not.
        steps: Optimizer steps of the run.
        seconds: Duration of the training, in seconds.
        clipped_fraction: Fraction of the finite steps that were clipped, in [0, 1].
        metrics: Final metrics by name; `None` for a metric without a value, for instance because the run diverged.
        axes: The values that distinguish this run's setting, for instance `{"length": 100}`.
        data: How the data describe themselves, for instance by the hash of a text; empty if they do not.
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
    data: str = ""

    @property
    def key(self) -> RunKey:
        """What identifies the run within its study."""
        return run_key(self.model, self.strategy, self.axes, self.seed)


def run_key(model: str, strategy: str, axes: Axes, seed: int) -> RunKey:
    """Return what identifies a run within its study: model, strategy, axes and seed."""
    return model, strategy, tuple(axes.items()), seed


def key_name(key: RunKey) -> str:
    """Return the key of a run as part of a file name.

    Example:
        >>> key_name(run_key("rnn", "norm-1.0", {"length": 100}, 3))
        'rnn-norm-1.0-length-100-3'
    """
    model, strategy, axes, seed = key
    return "-".join([model, strategy, *(f"{name}-{value}" for name, value in axes), str(seed)])


def key_in_words(key: RunKey) -> str:
    """Return the key of a run in words.

    Example:
        >>> key_in_words(run_key("rnn", "norm-1.0", {"length": 100}, 3))
        'rnn, norm-1.0, length 100, seed 3'
    """
    model, strategy, axes, seed = key
    return ", ".join([model, strategy, *(f"{name} {value}" for name, value in axes), f"seed {seed}"])
