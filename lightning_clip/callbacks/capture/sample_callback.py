"""`SampleCallback`: what `BadStepCapture` and `SkipBatches` share, which know the samples of each batch."""

from abc import abstractmethod
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from typing_extensions import override

from lightning_clip.callbacks.capture.sample_indices import SampleIndices
from lightning_clip.callbacks.step.action_point import StepCallback


class SampleCallback(StepCallback):
    """A callback with the dataset indices of each batch; it lets go of the loaders however a fit ends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._indices = SampleIndices()

    @abstractmethod
    def _let_go(self) -> None:
        """Drop the tensors that are kept while a fit goes on."""

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._let_go()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().teardown(trainer, pl_module, stage)
        self._indices.leave(trainer)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        super().on_exception(trainer, pl_module, exception)
        self._let_go()
        self._indices.leave(trainer)

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_indices": SampleIndices()}
