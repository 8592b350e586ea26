"""`SkipBatches`: leaves out known bad batches or samples."""

from collections.abc import Collection
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from lightning_clip._checks import check_rule
from lightning_clip._errors import ArgumentTypeError
from lightning_clip.callbacks._gradient_observer import observers
from lightning_clip.callbacks._trainer import place_of
from lightning_clip.callbacks.capture.sample_callback import SampleCallback
from lightning_clip.callbacks.step.context import StepContext
from lightning_clip.core.buffers import BufferKeeper
from lightning_clip.core.record.run_info import Event


class SkipBatches(SampleCallback):
    """Leave out the optimizer steps of known bad batches on a rerun, as `NonFiniteGuard("skip")` leaves out bad steps.

    The forward and backward passes of the batch still run, because Lightning cannot leave out a single batch; then the
    gradients are removed, so that neither parameters nor optimizer state change. Learning-rate schedulers and
    `global_step` advance, so every other step keeps its place. In an accumulation, the whole step is left out, and with
    several steps per batch, all of them. NaN or infinity that the batch leaves in buffers is replaced by the values
    before it. With several processes, a step is left out on all of them if one of them has a bad batch; batches count
    per process.

    Samples are found by the indices that the batch sampler draws, so shuffled data may stay shuffled. Where the indices
    cannot be told (iterable datasets, several loaders), one warning says so.

    Args:
        batches: Pairs of the epoch and the index of the batch in it, both from 0.
        samples: Indices of samples in the dataset, from 0; every batch that contains one is left out.

    Attributes:
        skipped: The number of optimizer steps left out so far.

    Raises:
        ArgumentError: Neither batches nor samples are given, or a number is negative.
        ArgumentTypeError: Something else than whole numbers is given.
        MisconfigurationException: At fit, if the parallel strategy hides the gradients.

    Example:
        >>> SkipBatches({(0, 20), (3, 20)}).skipped, SkipBatches(samples={333}).samples
        (0, frozenset({333}))
    """

    def __init__(self, batches: Collection[tuple[int, int]] = (), *, samples: Collection[int] = ()) -> None:
        super().__init__()
        call = f"SkipBatches({batches!r}, samples={samples!r})"
        pairs = [_whole(call, pair, 2) for pair in _items(call, batches)]
        indices = [_whole(call, (index,), 1)[0] for index in _items(call, samples)]
        check_rule(call, "name the batches or the samples to leave out", holds=bool(pairs or indices))
        numbers = [*(number for pair in pairs for number in pair), *indices]
        check_rule(call, "epochs, batches and samples are counted from 0", holds=min(numbers) >= 0)
        self.batches = frozenset((epoch, batch) for epoch, batch in pairs)
        self.samples = frozenset(indices)
        self.skipped = 0
        self._buffers: BufferKeeper | None = None
        self._is_bad = False
        self._has_stepped = True
        self._has_told = False

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and self.samples:
            self._indices.join(trainer)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._buffers is None:
            self._buffers = BufferKeeper(pl_module)
        if self._has_stepped:
            self._is_bad, self._has_stepped = False, False
        self._is_bad |= (trainer.current_epoch, batch_idx) in self.batches
        if self.samples:
            drawn = self._indices.of_batch(trainer)
            self._is_bad |= drawn is not None and not self.samples.isdisjoint(drawn)
            if drawn is None and not self._has_told:
                self._has_told = True
                rank_zero_warn(
                    "SkipBatches(samples=…) leaves nothing out: the data loader does not tell which samples are in a "
                    "batch. Use SkipBatches({(epoch, batch), …}), or one DataLoader with a map-style dataset."
                )

    @override
    def act(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        self._has_stepped = True
        is_bad = self._is_bad
        if trainer.world_size > 1:
            is_bad = trainer.strategy.reduce_boolean_decision(is_bad, all=False)
        if not is_bad:
            if self._buffers is not None:
                self._buffers.refresh()
            return
        self.skipped += 1
        place = place_of(trainer)
        context.skip()
        if self._buffers is not None:
            self._buffers.mend_()
        message = f"the step of batch {place.batch} of epoch {place.epoch} was left out, as asked"
        for observer in observers(trainer):
            observer.add_event(Event(trainer.global_step, "left-out", message))

    @override
    def _let_go(self) -> None:
        self._buffers = None

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.skipped, self._buffers = 0, None
        self._is_bad, self._has_stepped, self._has_told = False, True, False

    @override
    def _save(self) -> dict[str, Any]:
        return {"skipped": self.skipped}

    @override
    def _load(self, state: dict[str, Any]) -> None:
        self.skipped = int(state["skipped"])

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_buffers": None}


def _items(call: str, given: Any) -> list[Any]:
    if isinstance(given, str) or not isinstance(given, Collection):
        raise ArgumentTypeError(f"{call}: give a set, such as {{(0, 20)}} for batches or {{333}} for samples.")
    return list(given)


def _whole(call: str, numbers: Any, count: int) -> tuple[int, ...]:
    found = tuple(numbers) if isinstance(numbers, tuple | list) else ()
    if len(found) != count or any(isinstance(one, bool) or not isinstance(one, int) for one in found):
        raise ArgumentTypeError(f"{call}: batches are pairs (epoch, batch), and samples indices, of whole numbers.")
    return found
