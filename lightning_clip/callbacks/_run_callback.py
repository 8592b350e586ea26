"""`RunCallback`: the base of every callback that keeps state: its state belongs to one run, and to no other."""

from abc import ABC, abstractmethod
from typing import Any
from weakref import ReferenceType, ref

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from lightning_clip._errors import InputError

STATE_VERSION = 2
"""The version of the state that callbacks save; version 1 did not know about runs."""


class RunCallback(Callback, ABC):
    """A callback that begins anew with each run, continues a run, or restores one from a checkpoint.

    A callback object outlives a run: people use it in a second fit, in cross-validation, with a tuner. At the start of
    training this class decides which of three beginnings it is:

    - *restored*: a checkpoint was loaded for this fit;
    - *continued*: the same Trainer trains the same module on from a later step;
    - *new*: everything else, and everything kept from an earlier run is forgotten.

    Checkpoints that are loaded to validate, test or predict leave the state alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._loaded: dict[str, Any] | None = None
        self._stage = "fit"
        self._has_begun = False
        self._of_trainer: ReferenceType[Trainer] | None = None
        self._of_module: ReferenceType[LightningModule] | None = None

    @abstractmethod
    def _reset(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget everything of earlier runs, and prepare for a run at its start."""

    @abstractmethod
    def _save(self) -> dict[str, Any]:
        """The state of the run, as plain types that `weights_only=True` can load."""

    @abstractmethod
    def _load(self, state: dict[str, Any]) -> None:
        """Take over what `_save` returned, right after `_reset`."""

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._stage = stage
        if stage == "fit":
            self._loaded, self._has_begun = None, False

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loaded, self._loaded = self._loaded, None
        if loaded is not None or not self._is_continued(trainer, pl_module):
            self._reset(trainer, pl_module)
        if loaded is not None:
            self._restore_checked(loaded, trainer)
        self._has_begun = True
        self._of_trainer, self._of_module = ref(trainer), ref(pl_module)

    def _is_continued(self, trainer: Trainer, pl_module: LightningModule) -> bool:
        same = self._of_trainer is not None and self._of_trainer() is trainer
        return same and self._of_module is not None and self._of_module() is pl_module and trainer.global_step > 0

    def _restore_checked(self, state: dict[str, Any], trainer: Trainer) -> None:
        """Restore, and tell in one line which callback, checkpoint and entry do not fit."""
        where = f"{type(self).__name__}: the state of this callback in {trainer.ckpt_path or 'the checkpoint'}"
        remedy = f"Save the checkpoint again, or remove the key {self.state_key!r} from checkpoint['callbacks']."
        version = state.get("version")
        if not isinstance(version, int) or not 1 <= version <= STATE_VERSION:
            raise InputError(f"{where} has version {version!r}, expected 1 to {STATE_VERSION}. {remedy}")
        try:
            self._load(state)
        except KeyError as error:
            raise InputError(f"{where} lacks {error}. {remedy}") from error
        except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            raise InputError(f"{where} cannot be used: {error} {remedy}") from error

    @override
    def state_dict(self) -> dict[str, Any]:
        if self._loaded is not None:
            return self._loaded
        return {"version": STATE_VERSION, **self._save()} if self._has_begun else {}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._stage == "fit":
            self._loaded = state_dict

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the references to a Trainer and a module, which cannot be pickled or copied."""
        return {**self.__dict__, "_of_trainer": None, "_of_module": None}
