"""Checks that the batches of a data module fit a recurrent module, before the first step is made."""

from typing import Any, Protocol

from torch import Tensor

from lightning_clip._errors import ArgumentError


class Recurrent(Protocol):
    """What a batch is compared with."""

    in_features: int
    out_features: int
    task: Any

    @property
    def every_step(self) -> bool:
        """Whether there is an output at every step."""
        ...


def checked_batch(module: Recurrent, batch: Any) -> tuple[Tensor, Tensor]:
    """Return the inputs and targets of a batch.

    Args:
        module: The module that reads the batch.
        batch: What the data module yields.

    Returns:
        The inputs, `(batch, steps, in_features)` or symbols `(batch, steps)`, and the targets.

    Raises:
        ArgumentError: The batch is no sequence with targets, or the targets do not fit the task. Says what to change.
    """
    name = type(module).__name__
    if hasattr(batch, "nominal_steps"):
        raise ArgumentError(f"{name}: the data yields Chunks of streams; use TBPTTModule, or data of whole sequences.")
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        found = f"{len(batch)} parts" if isinstance(batch, tuple | list) else type(batch).__name__
        raise ArgumentError(f"{name}: expected batches of inputs and targets, found {found}.")
    inputs, targets = batch
    if inputs.dim() != (3 if inputs.is_floating_point() else 2):
        raise ArgumentError(
            f"{name}: expected sequences (batch, steps, features) or symbols (batch, steps), found inputs "
            f"{_shape(inputs)}; use data of sequences, or a network for tables such as MLPRegressor."
        )
    expected = inputs.shape[: 1 + module.every_step].numel()
    is_number, wanted = targets.is_floating_point(), module.task == "regression"
    if targets.numel() != expected * (module.out_features if wanted else 1) or (is_number and not wanted):
        remedy = _remedy(module, inputs, targets)
        raise ArgumentError(f"{name}(task={module.task!r}): the data has targets {_shape(targets)}; {remedy}.")
    return inputs, targets


def check_chunk(module: object, batch: Any) -> None:
    """Raise unless a batch is a chunk of streams.

    Args:
        module: The module that reads the batch.
        batch: What the data module yields.

    Raises:
        ArgumentError: It is something else.
    """
    if not hasattr(batch, "inputs"):
        raise ArgumentError(
            f"{type(module).__name__}: expected a Chunk of streams, found a {type(batch).__name__}; use data of "
            "streams such as CharTextDataModule, or TBPTTSequenceModule for sequences."
        )


def _remedy(module: Recurrent, inputs: Tensor, targets: Tensor) -> str:
    is_number = targets.is_floating_point()
    if is_number and module.task != "regression":
        return "numbers need task='regression'" + (" and many_to_many=True" if _has_steps(inputs, targets) else "")
    if not is_number and module.task == "regression":
        return "classes need task='classification'"
    if _has_steps(inputs, targets) != module.every_step:
        return f"set many_to_many={not module.every_step}"
    return f"set out_features={targets.shape[-1]}"


def _has_steps(inputs: Tensor, targets: Tensor) -> bool:
    return targets.shape[:2] == inputs.shape[:2]


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
