"""`failed_and_saved`: the two runs of a study that show what clipping changes."""

from collections.abc import Sequence

from lightning_clip.core.results import RunResult
from lightning_clip.reports.metrics import SOLVED


def failed_and_saved(results: Sequence[RunResult]) -> list[RunResult]:
    """A run that failed, and the same with clipping, which did not.

    The first run is one that diverged, or else one that did not solve its task. The second has the same model, seed and
    setting, and clipping acted in it; of several it is the last one whose name is not made of the name of another, as
    that of a combination of remedies is.

    Args:
        results: The runs of a study.

    Returns:
        Both runs; the one that diverged alone where nothing saved it; none where no run failed, or where a task was
        not solved by any such run.
    """
    diverged = [result for result in results if result.diverged]
    unsolved = [result for result in results if result.metrics.get(SOLVED) == 0]
    pairs = [(failed, saved[-1]) for failed in diverged or unsolved if (saved := _saved(failed, results))]
    return list(pairs[0]) if pairs else diverged[:1]


def _saved(failed: RunResult, results: Sequence[RunResult]) -> list[RunResult]:
    alike = [result for result in results if _is_like(result, failed) and not result.diverged]
    clipped = [result for result in alike if result.clipped_fraction > 0 and result.metrics.get(SOLVED) != 0]
    return [result for result in clipped if not any(_is_made_of(result, other) for other in clipped)]


def _is_like(result: RunResult, other: RunResult) -> bool:
    return (result.model, result.seed, result.axes) == (other.model, other.seed, other.axes)


def _is_made_of(result: RunResult, other: RunResult) -> bool:
    return result.strategy != other.strategy and other.strategy in result.strategy
