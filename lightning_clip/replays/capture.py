"""`Capture`: a bad step that `BadStepCapture` wrote; `load_capture` reads one and refuses anything else."""

import os
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_clip._errors import InputError
from lightning_clip.callbacks.capture.files import FORMAT, VERSION
from lightning_clip.callbacks.capture.plain import CHUNK
from lightning_clip.datamodules.streams.chunk import Chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """A step that was bad, with all that is needed to take it again.

    Attributes:
        path: The file.
        reason: `"spike"` or `"non-finite"`.
        model: The class of the module.
        step: The number of optimizer steps completed before this one, those of all optimizers together.
        step_before: The number completed before the first batch of the step.
        steps_before: The number of steps made since, of other optimizers or chunks.
        epoch: The epoch, from 0.
        first_batch: The index in its epoch of the first batch, from 0.
        batch: The index in its epoch of the batch that made the step.
        optimizer: The optimizer's position among those of the module.
        optimizer_name: Its class.
        precision: The Trainer's precision.
        scale: The scale of the gradient scaler; `None` without one.
        accumulate: The number of batches per step.
        rank: The process that wrote the file.
        world_size: The number of processes.
        losses: The losses of all backward passes since the first batch; those of an accumulation are divided by it.
        own_losses: How many of them belong to this step.
        norm: The total norm of the gradient.
        norms: The norm of each gradient, by parameter.
        norms_before: The norms of the steps before, in order; at most 100.
        samples: The dataset indices of the samples of each batch; `None` where they could not be told.
        batches: The batches.
        weights: The parameters before the step, by name.
        buffers: The buffers before the forward pass, by name.
        optimizers: The states of the optimizers.
        rng: The states of torch's random numbers, by kind of device.
        carried: The state that a `StatefulMixin` carried into the first batch; `None` without one.
        states: The recurrent states of truncated BPTT, by the chunk that begins with them; `None` without them.
        chunks: The first and the last chunk of the step; `None` without truncated BPTT.
    """

    path: str
    reason: str
    model: str
    step: int
    step_before: int
    steps_before: int
    epoch: int
    first_batch: int
    batch: int
    optimizer: int
    optimizer_name: str
    precision: str
    scale: float | None
    accumulate: int
    rank: int
    world_size: int
    losses: list[float]
    own_losses: int
    norm: float
    norms: dict[str, float]
    norms_before: list[float]
    samples: list[list[int] | None]
    batches: list[Any]
    weights: dict[str, Tensor]
    buffers: dict[str, Tensor]
    optimizers: list[Any]
    rng: dict[str, Tensor]
    carried: dict[str, Any] | None = None
    states: dict[int, Any] | None = None
    chunks: list[int] | None = None

    @property
    def loss(self) -> float:
        """The loss of the step: the sum over its backward passes."""
        return sum(self.losses[len(self.losses) - self.own_losses :])


def load_capture(path: str | os.PathLike[str]) -> Capture:
    """Read a file that `BadStepCapture` wrote, without running code from it.

    Args:
        path: The file.

    Returns:
        The capture.

    Raises:
        InputError: The file is something else, or of a later version.
        OSError: There is no such file.
    """
    with Path(path).open("rb") as file:
        is_archive = file.read(2) == b"PK"
    content: Any = None
    if is_archive:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError):
            content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: not a bad step; name a file that BadStepCapture has written")
    if content.get("version") != VERSION:
        raise InputError(f"{path}: version {content.get('version')!r}, expected {VERSION}; update lightning-clip")
    names = {field.name for field in fields(Capture)}
    known = {key: value for key, value in content.items() if key in names}
    known["batches"] = [_with_chunks(batch) for batch in content.get("batches", ())]
    try:
        return Capture(**{**known, "path": os.fspath(path)})
    except TypeError as error:
        raise InputError(f"{path}: a bad step that is not whole: {error}") from error


def _with_chunks(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {key: _with_chunks(one) for key, one in value.items()}
        return Chunk(**inner[CHUNK]) if set(inner) == {CHUNK} else inner
    if type(value) in (tuple, list):
        return type(value)(_with_chunks(one) for one in value)
    return value
