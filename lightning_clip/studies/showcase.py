"""`showcase`: the two runs of a study that best show what clipping changes."""

from collections.abc import Sequence

from lightning_clip.studies.comparison.metrics import SOLVED
from lightning_clip.studies.comparison.result import RunResult


def showcase(results: Sequence[RunResult]) -> list[RunResult]:
    """Choose a run that failed, and a run that succeeded with the same model, seed and setting thanks to clipping.

    The first run diverged or, if no run diverged, did not solve its task. In the second run, clipping was active. A
    strategy that combines several remedies has a `+` in its name. If possible, the second run uses all the remedies of
    the first one and as few others as possible; among several such runs, the last one is chosen.

    Args:
        results: The results of a study.

    Returns:
        Both runs. Only the first run that diverged, if clipping saved none that did. No run, if none failed, or if no
        unsolved task was solved with clipping.
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
