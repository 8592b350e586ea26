"""`StepBuffer`: keeps pending steps on the device until one read turns them into records."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_clip.core.record.pending_step import PendingStep
from lightning_clip.core.record.step_record import ParamNorms, StepRecord


class StepBuffer:
    """Events whose tensors wait on the device until one `flush` reads them all.

    Attributes:
        pending: The events not yet read, in order.
    """

    def __init__(self) -> None:
        self.pending: list[PendingStep] = []

    def __len__(self) -> int:
        return len(self.pending)

    def add(self, event: PendingStep) -> None:
        """Keep an event; one of the same step and optimizer is replaced (LBFGS evaluates a step several times)."""
        if self.pending and _key(self.pending[-1]) == _key(event):
            self.pending.pop()
        self.pending.append(event)

    def flush(self) -> list[StepRecord]:
        """Read all pending events, with one copy from the device.

        Returns:
            Their records, in order; the buffer is empty afterwards.
        """
        events, self.pending = self.pending, []
        pieces = [piece for event in events for piece in _pieces(event)]
        values = iter(_read(pieces))
        return [_record(event, values) for event in events]


def _key(event: PendingStep) -> tuple[int, int]:
    return event.step, event.optimizer


def _pieces(event: PendingStep) -> list[Tensor]:
    """The tensors of an event, in the order in which `_record` takes them."""
    optional = (
        event.coefs,
        event.norm_after,
        event.param_norms_after,
        event.threshold,
        event.skipped,
        None if event.loss is None else event.loss.reshape(()),
        *event.watched.values(),
        *event.gate_norms.values(),
    )
    return [event.norm_before, event.param_norms, *(piece for piece in optional if isinstance(piece, Tensor))]


def _read(pieces: Sequence[Tensor]) -> list[Any]:
    """Each tensor of one number as a number, each other as an array; read with one copy per device."""
    devices = {piece.device for piece in pieces}
    if devices == {torch.device("cpu")}:
        return [piece.detach().double().numpy() if piece.dim() else piece.item() for piece in pieces]
    result: list[Any] = [None] * len(pieces)
    for device in devices:
        here = [i for i, piece in enumerate(pieces) if piece.device == device]
        flat = torch.cat([pieces[i].detach().reshape(-1) for i in here]).cpu().double().numpy()
        ends = np.cumsum([pieces[i].numel() for i in here])
        for i, part in zip(here, np.split(flat, ends[:-1]), strict=True):
            result[i] = part if pieces[i].dim() else part.item()
    return result


def _record(event: PendingStep, values: Iterator[Any]) -> StepRecord:
    before, params = float(next(values)), next(values)
    coefs = next(values) if event.coefs is not None else None
    after = float(next(values)) if event.norm_after is not None else None
    params_after = next(values) if event.param_norms_after is not None else None
    threshold = float(next(values)) if isinstance(event.threshold, Tensor) else event.threshold
    skipped = bool(next(values)) if isinstance(event.skipped, Tensor) else event.skipped
    loss = float(next(values)) if event.loss is not None else None
    watched = {label: float(next(values)) for label in event.watched}
    gates = {name: next(values).tolist() for name in event.gate_norms}

    if isinstance(coefs, float):
        after, param_clipped = before * coefs, np.full(len(params), coefs < 1.0)
    elif coefs is not None:
        after, param_clipped = float(np.linalg.norm(params * coefs)), coefs < 1.0
    else:
        with np.errstate(invalid="ignore"):
            param_clipped = np.asarray(params_after) < params
    assert after is not None
    if skipped:
        after, param_clipped = 0.0, np.zeros_like(param_clipped)
    finite = math.isfinite(before)
    return StepRecord(
        step=event.step,
        optimizer=event.optimizer,
        strategy=event.strategy,
        norm_before=before,
        norm_after=after,
        threshold=threshold,
        clip_coef=after / before if finite and before > 0 and not skipped else 1.0,
        clipped=finite and bool(param_clipped.any()),
        finite=finite,
        skipped=skipped,
        loss=loss,
        watched=watched,
        params=ParamNorms(event.names, params, param_clipped, gates),
    )
