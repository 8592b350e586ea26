"""`RecurrentMonitor`: the base of the callbacks that measure recurrent layers, and that never end a training."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from lightning_clip.callbacks._run_callback import RunCallback


class RecurrentMonitor(RunCallback):
    """A callback that measures recurrent layers, and stands aside with one warning where it cannot.

    Two things make it stand aside for the rest of the run: a module or parallel strategy that it cannot measure, and
    any error while it measures. It then leaves no hook behind, and the training goes on as if it were not there.
    """

    def __init__(self) -> None:
        super().__init__()
        self._next_step = 0
        self._stands_aside = False

    @abstractmethod
    def _find(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the layers to measure, or raise a `MisconfigurationException` that says why there are none."""

    @abstractmethod
    def _stop_watching(self) -> None:
        """Remove every hook from the layers, and discard what is half measured."""

    @abstractmethod
    def _let_go(self) -> None:
        """Keep no reference to a layer."""

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._release()
        if not self._stands_aside:
            with self._measuring():
                self._find(trainer, pl_module)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_watching()  # a batch that the module skipped has had no end

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._release()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._release()

    @contextmanager
    def _measuring(self, *, release: bool = True) -> Iterator[None]:
        """Turn the first error into a warning, and stand aside; without `release`, hooks stay until the batch ends."""
        try:
            yield
        except Exception as error:
            told, self._stands_aside = self._stands_aside, True
            if release:
                self._release()
            if not told:
                rank_zero_warn(self._notice(error))

    def _notice(self, error: Exception) -> str:
        name, text = type(self).__name__, " ".join(str(error).split())
        if isinstance(error, MisconfigurationException):
            return f"{text} The training goes on, and {name} measures nothing."
        told = f"{type(error).__name__}: {text}" if text else type(error).__name__
        return (
            f"{name} stands aside for the rest of this run, and the training goes on: measuring failed with {told!r}. "
            f"If memory is short, lower its `rows`; otherwise remove {name}."
        )

    def _release(self) -> None:
        self._stop_watching()
        self._let_go()

    @override
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._next_step = 0
        self._stands_aside = False

    @override
    def _load(self, state: dict[str, Any]) -> None:
        self._next_step = whole_number(state, "next_step")


def whole_number(state: dict[str, Any], name: str) -> int:
    """Return a counter from a saved state.

    Args:
        state: What `_save` returned.
        name: The entry.

    Returns:
        The counter.

    Raises:
        ValueError: It is not a whole number of at least 0.
    """
    value = state[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name!r} must be a whole number of at least 0, not {value!r}.")
    return value
