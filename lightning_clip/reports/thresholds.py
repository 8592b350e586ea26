"""`thresholds_of`: the threshold over a run, as far as the record says."""

import math
from statistics import median

from lightning_clip.reports.evidence import OptimizerEvidence


def thresholds_of(one: OptimizerEvidence) -> list[float]:
    """The median threshold in each stretch of the trajectory of an optimizer; NaN where it is unknown.

    Records of earlier steps than those of the history are gone. Where the threshold never changed since, it is taken
    to have been the same before, unless the strategy was another one.

    Args:
        one: The optimizer.
    """
    stride, stretches = one.part.stride, len(one.part.before)
    offset = one.part.steps + one.part.empty - len(one.records)
    known: dict[int, list[float]] = {}
    for position, record in enumerate(one.records, offset):
        if record.threshold is not None:
            known.setdefault(position // stride, []).append(record.threshold)
    values = {threshold for group in known.values() for threshold in group}
    if len(values) == 1 and len(one.part.strategies) == 1:
        return [next(iter(values))] * stretches
    return [median(known[stretch]) if stretch in known else math.nan for stretch in range(stretches)]
