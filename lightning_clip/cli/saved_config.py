"""`SavedConfig`: saves the configuration of a run beside its logs, and never over a file of the user's."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from lightning_clip._errors import NonFiniteError, is_known
from lightning_clip.cli.parser import OneLineParser

_MARK = "written by lightning-clip"


class SavedConfig(SaveConfigCallback):
    """Saves the configuration as `config.yaml`, or as `config-1.yaml` if there is one that this program did not write.

    Without a logger, the folder of the logs is the working folder, where people keep their own files.
    """

    _new: ClassVar[list[Path]] = []
    _steps_made: ClassVar[int] = 0

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.already_saved:
            return
        folder = trainer.log_dir  # on every rank, because Lightning broadcasts it
        if folder is not None and "://" in folder:
            self.overwrite = True
            super().setup(trainer, pl_module, stage)
        elif trainer.is_global_zero and folder is not None:
            self._save(Path(folder))
        self.already_saved = True

    @override
    def on_train_batch_end(self, trainer: Trainer, *args: object) -> None:
        SavedConfig._steps_made = trainer.global_step

    def _save(self, folder: Path) -> None:
        self.parser.dump_header = [*(self.parser.dump_header or ()), _MARK]
        text = self.parser.dump(self.config, skip_none=False)
        path = _place(folder, text)
        if path.name != self.config_filename:
            taken = folder / self.config_filename
            reason = "configures this run" if _is_read(taken) else "is not a file of this program"
            rank_zero_warn(f"{taken} {reason}: saving {path} instead")
        for parent in (path, *path.parents):
            if not parent.exists():
                SavedConfig._new.append(parent)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    @staticmethod
    @contextmanager
    def kept_if_used() -> Iterator[None]:
        """Remove the new file again if the command is refused before the first step."""
        SavedConfig._new, SavedConfig._steps_made = [], 0
        try:
            yield
        except Exception as error:
            if is_known(error) and not isinstance(error, NonFiniteError) and not SavedConfig._steps_made:
                with suppress(OSError):
                    for path in SavedConfig._new:
                        path.unlink() if path.is_file() else path.rmdir()
            raise


def _place(folder: Path, text: str) -> Path:
    """The first of `config.yaml`, `config-1.yaml`, … that is free, or was written by this program and not by hand."""
    for number in range(10_000):
        path = folder / (f"config-{number}.yaml" if number else "config.yaml")
        if not path.exists() or path.read_bytes() == text.encode():
            return path
        if path.read_bytes().startswith(b"#") and _MARK.encode() in path.read_bytes()[:200] and not _is_read(path):
            return path
    raise AssertionError("ten thousand configurations")


def _is_read(path: Path) -> bool:
    return any(Path(name).resolve() == path.resolve() for name in OneLineParser.files)
