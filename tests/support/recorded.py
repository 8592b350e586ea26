"""Records and histories of imaginary runs, made from a list of norms."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lightning_clip.core import History, StepRecord
from lightning_clip.core.record.step_record import ParamNorms


def record(
    step: int,
    norm: float,
    *,
    max_norm: float | None = None,
    optimizer: int = 0,
    skipped: bool = False,
    shares: Mapping[str, float] | None = None,
) -> StepRecord:
    """Return the record of a step whose norm is clipped to `max_norm` and split by share of the squared norm."""
    finite = math.isfinite(norm)
    clipped = finite and not skipped and max_norm is not None and norm > max_norm
    coef = max_norm / norm if clipped and max_norm is not None else 1.0
    params = None
    if shares is not None:
        before = norm * np.sqrt(np.array(list(shares.values())))
        params = ParamNorms(tuple(shares), before, np.full(len(shares), clipped))
    return StepRecord(
        step=step,
        optimizer=optimizer,
        strategy="NoClip()" if max_norm is None else f"NormClip({max_norm})",
        norm_before=norm,
        norm_after=0.0 if skipped else norm * coef,
        threshold=max_norm,
        clip_coef=coef,
        clipped=clipped,
        finite=finite,
        skipped=skipped,
        loss=0.5,
        params=params,
    )


def history_of(
    norms: Sequence[float],
    *,
    max_norm: float | None = None,
    shares: Mapping[str, float] | None = None,
    skipped: Sequence[int] = (),
    optimizer: int = 0,
    into: History | None = None,
) -> History:
    """Return the history of steps with these norms."""
    history = History() if into is None else into
    history.extend(
        [
            record(step, norm, max_norm=max_norm, shares=shares, skipped=step in skipped, optimizer=optimizer)
            for step, norm in enumerate(norms)
        ]
    )
    return history
