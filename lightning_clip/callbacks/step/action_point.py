"""`StepCallback`: the base of callbacks that act on each optimizer step, right where Lightning clips."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer
from typing_extensions import override

from lightning_clip._compat import clipping_of, replace_clipping, uncompiled
from lightning_clip.callbacks._run_callback import RunCallback
from lightning_clip.callbacks._trainer import check_strategy_support
from lightning_clip.callbacks.step.context import StepContext


class StepCallback(RunCallback):
    """A callback that acts on each optimizer step, after everything else that changes gradients.

    In both optimization modes Lightning calls the `on_before_optimizer_step` of all callbacks, then that of the module,
    and then clips. This package acts there: first every callback looks, so that what it finds out does not depend on
    their order; then every callback acts, in order; then Lightning or the module's `configure_gradient_clipping` clips,
    if it does; then every callback takes note.
    """

    def look(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        """Find out what has to be known about the gradients, and change nothing."""

    def act(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        """Change or record the gradients."""

    def take_note(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        """Record what others have made of the gradients."""

    def rehearse(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        """Act on a trial step of a tuner, which takes the callbacks away and whose steps belong to no run."""

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            check_strategy_support(self, trainer)
            _join(trainer, self)

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Act here, once this package's last callback is called, if Lightning does not clip in one place."""
        if isinstance(clipping_of(trainer), _ActionPoint):
            return
        crew = _Crew(trainer.callbacks)  # type: ignore[attr-defined]  # set while the Trainer is built
        if self is crew.members[-1] and optimizer.param_groups:
            context = StepContext(trainer, pl_module, optimizer)
            crew.look_and_act(trainer, pl_module, context)
            crew.take_note(trainer, pl_module, context)

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            _leave(trainer)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        _leave(trainer)


class _ActionPoint:
    """Stands in for Lightning's own clipping, and calls it once this package's callbacks have acted."""

    def __init__(self, clip: Callable[..., None]) -> None:
        self.clip = clip
        self.joined: list[StepCallback] = []
        self._crew = _Crew([], [])

    @uncompiled
    def __call__(self, model: LightningModule, optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
        trainer = model.trainer
        callbacks, crew = trainer.callbacks, self._crew  # type: ignore[attr-defined]  # set while the Trainer is built
        if crew.callbacks != callbacks or crew.joined != self.joined:
            crew = self._crew = _Crew(callbacks, self.joined)
        if crew.away:
            context = StepContext(trainer, model, optimizer)
            for callback in crew.away:
                callback.rehearse(trainer, model, context)
        if not optimizer.param_groups:  # Lightning's stand-in for no optimizer
            self.clip(model, optimizer, *args, **kwargs)
            return
        context = StepContext(trainer, model, optimizer)
        crew.look_and_act(trainer, model, context)
        self.clip(model, optimizer, *args, **kwargs)
        crew.take_note(trainer, model, context)


class _Crew:
    """The callbacks of this package among those of a trainer, and which of them do something at which point.

    Finding this out at every step would take longer than some of them take to act.
    """

    def __init__(self, callbacks: Sequence[Callback], joined: Sequence[StepCallback] = ()) -> None:
        self.callbacks, self.joined = list(callbacks), list(joined)
        self.away = [callback for callback in joined if callback not in self.callbacks]
        self.members = [callback for callback in callbacks if isinstance(callback, StepCallback)]
        self._look, self._act, self._take_note = (
            [callback for callback in self.members if getattr(type(callback), name) is not getattr(StepCallback, name)]
            for name in ("look", "act", "take_note")
        )

    def look_and_act(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        for callback in self._look:
            callback.look(trainer, pl_module, context)
        for callback in self._act:
            callback.act(trainer, pl_module, context)

    def take_note(self, trainer: Trainer, pl_module: LightningModule, context: StepContext) -> None:
        for callback in self._take_note:
            callback.take_note(trainer, pl_module, context)


def _join(trainer: Trainer, callback: StepCallback) -> None:
    clip = clipping_of(trainer)
    if clip is None:
        return
    point = clip if isinstance(clip, _ActionPoint) else _ActionPoint(clip)
    point.joined.append(callback)
    replace_clipping(trainer, point)


def _leave(trainer: Trainer) -> None:
    point = clipping_of(trainer)
    if isinstance(point, _ActionPoint):
        replace_clipping(trainer, point.clip)


@contextmanager
def only(trainer: Trainer, callback: StepCallback) -> Iterator[None]:
    """Let one callback act alone for a while: those that have joined neither act nor rehearse.

    Args:
        trainer: The trainer that is about to fit.
        callback: The callback, the only one among `trainer.callbacks`.
    """
    others = clipping_of(trainer)
    _leave(trainer)
    _join(trainer, callback)
    try:
        yield
    finally:
        _leave(trainer)
        if isinstance(others, _ActionPoint):
            replace_clipping(trainer, others)
