"""`StepBuffer`: keeps pending steps on the device and turns them into records with one read."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_clip.core.record.pending_step import PendingStep
from lightning_clip.core.record.step_record import ParamNorms, StepRecord


class StepBuffer:
    """Pending steps whose tensors stay on the device until one `flush` reads them all.

    Attributes:
        pending: The steps not yet read, in order.
        finished: How many of them, from the first, no further evaluation replaces.
    """

    def __init__(self) -> None:
        self.pending: list[PendingStep] = []
        self.finished = 0

    def __len__(self) -> int:
        return len(self.pending)

    def add(self, step: PendingStep) -> None:
        """Add a step.

        It replaces the previous one if step number and optimizer are the same, because LBFGS evaluates a step several
        times.

        Args:
            step: The pending step.
        """
        if len(self.pending) > self.finished and _key(self.pending[-1]) == _key(step):
            self.pending[-1] = step
        else:
            self.pending.append(step)

    def flush(self, count: int | None = None) -> list[StepRecord]:
        """Read pending steps, with one copy from the device, and remove them from the buffer.

        Args:
            count: How many, from the first; `None` reads all.

        Returns:
            The records of the steps, in order.
        """
        steps = self.pending[:count]
        self.pending, self.finished = self.pending[len(steps) :], max(self.finished - len(steps), 0)
        pieces = [piece for step in steps for piece in _pieces(step)]
        values = iter(_read(pieces))
        return [_record(step, values) for step in steps]


def _key(step: PendingStep) -> tuple[int, int]:
    return step.step, step.optimizer


def _pieces(step: PendingStep) -> list[Tensor]:
    """Return the tensors of a step in the order in which `_record` consumes them."""
    values = (
        step.norm_before,
        step.param_norms,
        step.coefs,
        step.norm_after,
        step.param_norms_after,
        step.threshold,
        step.skipped,
        step.loss,
        step.learning_rate,
        *step.watched.values(),
        *step.gate_norms.values(),
    )
    return [value for value in values if isinstance(value, Tensor)]


def _read(pieces: Sequence[Tensor]) -> list[Any]:
    """Read tensors with one copy per device: those of shape `()` as numbers, the others as arrays."""
    if all(piece.is_cpu for piece in pieces):
        return _read_here(pieces)
    result: list[Any] = [None] * len(pieces)
    for device in {piece.device for piece in pieces}:
        here = [i for i, piece in enumerate(pieces) if piece.device == device]
        flat = torch.cat([pieces[i].detach().reshape(-1) for i in here]).cpu().double().numpy()
        ends = np.cumsum([pieces[i].numel() for i in here])
        for i, part in zip(here, np.split(flat, ends[:-1]), strict=True):
            result[i] = part if pieces[i].dim() else part.item()
    return result


def _read_here(pieces: Sequence[Tensor]) -> list[Any]:
    """Read tensors of the CPU; arrays of the same shape are rows of one matrix, which is read as a whole."""
    result: list[Any] = [None if piece.dim() else piece.item() for piece in pieces]
    alike: dict[tuple[torch.Size, torch.dtype], list[int]] = {}
    for i, piece in enumerate(pieces):
        if piece.dim():
            alike.setdefault((piece.shape, piece.dtype), []).append(i)
    for members in alike.values():
        rows = torch.stack([pieces[i] for i in members]).detach().double().numpy()
        for i, row in zip(members, rows, strict=True):
            result[i] = row
    return result


@lru_cache(maxsize=16)
def _all(value: bool, count: int) -> NDArray[np.bool_]:
    """The same value for each of several parameters; records share the array."""
    values = np.full(count, value)
    values.setflags(write=False)
    return values


def _record(step: PendingStep, values: Iterator[Any]) -> StepRecord:
    before, params = float(next(values)), next(values)
    coefs = next(values) if isinstance(step.coefs, Tensor) else step.coefs
    after = float(next(values)) if step.norm_after is not None else None
    params_after = next(values) if step.param_norms_after is not None else None
    threshold = float(next(values)) if isinstance(step.threshold, Tensor) else step.threshold
    skipped = bool(next(values)) if isinstance(step.skipped, Tensor) else step.skipped
    loss = float(next(values)) if step.loss is not None else None
    rate = float(next(values)) if isinstance(step.learning_rate, Tensor) else step.learning_rate
    watched = {label: float(next(values)) for label in step.watched} if step.watched else {}
    gates = {name: next(values).tolist() for name in step.gate_norms} if step.gate_norms else {}

    if isinstance(coefs, float):
        after, any_clipped = before * coefs, coefs < 1.0 and len(params) > 0
        param_clipped = _all(any_clipped, len(params))
    else:
        if coefs is not None:
            after, param_clipped = float(np.linalg.norm(params * coefs)), coefs < 1.0
        else:
            with np.errstate(invalid="ignore"):
                param_clipped = np.asarray(params_after) < params
        any_clipped = bool(param_clipped.any())
    assert after is not None
    if skipped:
        after, any_clipped, param_clipped = 0.0, False, _all(False, len(params))
    finite = math.isfinite(before)
    epoch, first_batch, batch = step.place or (None, None, None)
    top = int(params.argmax()) if len(params) else None
    return StepRecord(
        step=step.step,
        optimizer=step.optimizer,
        strategy=step.strategy,
        norm_before=before,
        norm_after=after,
        threshold=threshold,
        clip_coef=after / before if finite and before > 0 and not skipped else 1.0,
        clipped=finite and before > 0 and any_clipped,
        finite=finite,
        skipped=skipped,
        loss=loss,
        epoch=epoch,
        first_batch=first_batch,
        batch=batch,
        learning_rate=rate,
        top_param=None if top is None else step.names[top],
        top_share=None if top is None or not finite or before == 0 else round((float(params[top]) / before) ** 2, 4),
        watched=watched,
        params=ParamNorms(step.names, params, param_clipped, gates),
    )
