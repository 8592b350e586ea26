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
    loss: float | None = None,
    batches_per_epoch: int | None = None,
) -> StepRecord:
    """Return the record of a step whose norm is clipped to `max_norm` and split by share of the squared norm.

    The loss falls slowly, unless it is given.
    """
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
        loss=1 / (1 + step / 100) if loss is None else loss,
        epoch=None if batches_per_epoch is None else step // batches_per_epoch,
        first_batch=None if batches_per_epoch is None else step % batches_per_epoch,
        batch=None if batches_per_epoch is None else step % batches_per_epoch,
        top_param=None if shares is None else max(shares, key=lambda name: shares[name]),
        top_share=None if shares is None else round(max(shares.values()), 4),
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
    losses: Sequence[float] | None = None,
    batches_per_epoch: int | None = None,
) -> History:
    """Return the history of steps with these norms."""
    history = History() if into is None else into
    history.extend(
        [
            record(
                step,
                norm,
                max_norm=max_norm,
                shares=shares,
                skipped=step in skipped,
                optimizer=optimizer,
                loss=None if losses is None else losses[step],
                batches_per_epoch=batches_per_epoch,
            )
            for step, norm in enumerate(norms)
        ]
    )
    return history
