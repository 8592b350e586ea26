"""What happened at one optimizer step: `PendingStep` on the device, `StepRecord` on the host, and the way between."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(slots=True)
class PendingStep:
    """What happened at one optimizer step, as tensors that have not been read.

    Attributes:
        step: The number of optimizer steps completed before this one.
        optimizer: The optimizer's position in `trainer.optimizers`.
        strategy: The label of the strategy that decided.
        names: The `n` parameters that had a gradient.
        norm_before: Total 2-norm before the action, `()`.
        param_norms: 2-norm of each gradient before the action, `(n,)`.
        coefs: The factor applied to all gradients, `()`, or to each, `(n,)`; `None` where the effect was measured.
        norm_after: Total 2-norm after the action, `()`; `None` where it follows from `coefs`.
        param_norms_after: 2-norm of each gradient after the action, `(n,)`; `None` where it follows from `coefs`.
        threshold: The limit in force, a number or `()`; `None` when there is no single one.
        skipped: Whether the optimizer step was skipped, `()` or a `bool`.
        watched: Factors that strategies which were only asked would have applied, each `()`, by strategy label.
        loss: The training loss of the batch, `()`, if known.
        gate_norms: 2-norms of the blocks of a recurrent gradient before the action, each `(gates,)`, by parameter.
        changed: Whether the action may have changed the gradients.
    """

    step: int
    optimizer: int
    strategy: str
    names: tuple[str, ...]
    norm_before: Tensor
    param_norms: Tensor
    coefs: Tensor | None
    norm_after: Tensor | None = None
    param_norms_after: Tensor | None = None
    threshold: Tensor | float | None = None
    skipped: Tensor | bool = False
    watched: Mapping[str, Tensor] = field(default_factory=dict)
    loss: Tensor | None = None
    gate_norms: Mapping[str, Tensor] = field(default_factory=dict)
    changed: bool = True


@dataclass(slots=True)
class ParamNorms:
    """The gradients of one step, parameter by parameter.

    Attributes:
        names: The `n` parameters that had a gradient.
        before: 2-norm of each before the action, `(n,)`.
        clipped: Whether the action made each smaller, `(n,)`.
        gates: 2-norms of the blocks of recurrent gradients before the action, where they were measured, by parameter.
    """

    names: tuple[str, ...]
    before: NDArray[np.float64]
    clipped: NDArray[np.bool_]
    gates: Mapping[str, list[float]] = field(default_factory=dict)


@dataclass(slots=True)
class StepRecord:
    """What happened at one optimizer step, as plain numbers.

    Attributes:
        step: The number of optimizer steps completed before this one.
        optimizer: The optimizer's position in `trainer.optimizers`.
        strategy: The label of the strategy that decided.
        norm_before: Total 2-norm of the gradients before clipping.
        norm_after: Total 2-norm of what the optimizer was given; 0 where the step was skipped.
        threshold: The limit in force; `None` when there is no single one.
        clip_coef: `norm_after / norm_before`; 1 where nothing was changed or nothing can be said.
        clipped: Whether clipping bound.
        finite: Whether `norm_before` is finite.
        skipped: Whether the optimizer step was skipped.
        loss: The training loss of the batch, if known.
        watched: Factors that strategies which were only asked would have applied, by strategy label.
        params: The gradients parameter by parameter; not written to files.
    """

    step: int
    optimizer: int
    strategy: str
    norm_before: float
    norm_after: float
    threshold: float | None
    clip_coef: float
    clipped: bool
    finite: bool
    skipped: bool
    loss: float | None = None
    watched: dict[str, float] = field(default_factory=dict)
    params: ParamNorms | None = None

    def without_params(self) -> "StepRecord":
        """The same record without the norms of parameters, which take more room than all the rest."""
        norms = self.norm_before, self.norm_after, self.threshold, self.clip_coef
        flags = self.clipped, self.finite, self.skipped
        return StepRecord(self.step, self.optimizer, self.strategy, *norms, *flags, self.loss, self.watched)


@dataclass(slots=True)
class Event:
    """Something that happened once in a run: a switch of strategy, a restored snapshot, a stop.

    Attributes:
        step: The number of optimizer steps completed before it.
        kind: One word, for instance `"switch"`.
        message: One line for people.
        data: Plain numbers and strings, for programs.
    """

    step: int
    kind: str
    message: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class RunInfo:
    """What was run, for the head of a report.

    Attributes:
        model: Class name of the LightningModule.
        strategy: The clipping strategy as it prints itself.
        optimizer: Class name and learning rate of each optimizer.
        numels: Number of elements of each parameter, by name.
        seconds: Duration of the run so far, in seconds.
    """

    model: str = ""
    strategy: str = ""
    optimizer: str = ""
    numels: dict[str, int] = field(default_factory=dict)
    seconds: float | None = None


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
