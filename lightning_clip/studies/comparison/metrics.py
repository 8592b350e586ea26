"""The names of metrics: which is the main one, which direction is better, and how to print them."""

from collections.abc import Iterable, Sequence

from lightning_clip.reports.formats import count, number
from lightning_clip.studies.comparison.result import RunResult

SOLVED = "solved"
STEPS_TO_SOLVE = "steps_to_solve"
DEAD = "dead"

_HIGHER_IS_BETTER = {"accuracy", "acc", "r2", "f1", "auroc", "cosine"}
_NEITHER_IS_BETTER = {
    *("max_norm", "sigma_max"),
    *("growth_rate", "growth_rate_exact", "difference", "r_squared", "horizon"),
}
_ABBREVIATIONS = {"mse", "rmse", "mae", "mape", "r2", "f1", "auroc", "nll", "bce"}


def metric_names(results: Iterable[RunResult]) -> list[str]:
    """Return the names of the metrics of all runs, in order of first appearance."""
    return list(dict.fromkeys(name for result in results for name in result.metrics))


def main_metric(metrics: Sequence[str]) -> str:
    """Return the metric that a comparison is about: the last test metric, or else the last metric; empty if none.

    Example:
        >>> main_metric(["solved", "steps_to_solve", "test_error", "sigma_max"])
        'test_error'
    """
    metrics = [name for name in metrics if name not in (SOLVED, STEPS_TO_SOLVE, DEAD)]
    return next((name for name in reversed(metrics) if "test" in name), metrics[-1] if metrics else "")


def is_higher_better(metric: str) -> bool:
    """Whether a higher value of a metric is better, judged by its name."""
    return not _HIGHER_IS_BETTER.isdisjoint(metric.lower().split("_"))


def is_neither_better(metric: str) -> bool:
    """Whether a metric only describes a run, so that no value of it is better than another."""
    return metric in _NEITHER_IS_BETTER


def metric_title(metric: str) -> str:
    """Return the name of a metric in words.

    Example:
        >>> metric_title("test_mse")
        'test MSE'
    """
    return " ".join(word.upper() if word in _ABBREVIATIONS else word for word in metric.replace("/", "_").split("_"))


def metric_number(metric: str, value: float) -> str:
    """Format a value of a metric; steps are whole numbers.

    Example:
        >>> metric_number("steps_to_solve", 12250.0), metric_number("test_mse", 12250.0)
        ('12,250', '12,200')
    """
    return count(value) if metric == STEPS_TO_SOLVE else number(value)
