"""`showcase`: the two runs of a study that show what clipping changes."""

from collections.abc import Sequence

from lightning_clip.studies.comparison.metrics import SOLVED
from lightning_clip.studies.comparison.result import RunResult


def showcase(results: Sequence[RunResult]) -> list[RunResult]:
    """A run that failed, and the same with clipping, which did not.

    The first run is one that diverged, or else one that did not solve its task. The second has the same model, seed and
    setting, and clipping acted in it. Strategies that are several remedies at once have a `+` in their name: where
    there is such a run, the second has all remedies of the first and as few more as possible, and is the last such one.

    Args:
        results: The runs of a study.

    Returns:
        Both runs; the one that diverged alone where nothing saved it; none where no run failed, or where a task was
        not solved by any such run.
    """
    diverged = [result for result in results if result.diverged]
    unsolved = [result for result in results if result.metrics.get(SOLVED) == 0]
    pairs = [(failed, saved) for failed in diverged or unsolved for saved in results if _is_saved(saved, failed)]
    if not pairs:
        return diverged[:1]
    only_added = [pair for pair in pairs if _remedies(pair[0]) < _remedies(pair[1])] or pairs
    failed = only_added[0][0]
    saved = [other for one, other in only_added if one is failed]
    return [failed, min(reversed(saved), key=lambda result: len(_remedies(result)))]


def _is_saved(result: RunResult, failed: RunResult) -> bool:
    is_alike = (result.model, result.seed, result.axes) == (failed.model, failed.seed, failed.axes)
    is_sound = not result.diverged and result.metrics.get(SOLVED) != 0
    return is_alike and is_sound and result.clipped_fraction > 0


def _remedies(result: RunResult) -> set[str]:
    return set(result.strategy.split("+")) - {"none"}
