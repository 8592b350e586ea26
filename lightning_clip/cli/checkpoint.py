"""Checkpoints that the user names: refuse one that cannot be one before any work, or that does not fit the model."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from lightning_clip._errors import InputError, reason_of

_NAMED = ("best", "last", "hpc", "registry")
"""What Lightning takes instead of a path."""

_LENGTH = 400
"""Characters of torch's reason to show; it lists every weight."""


def check_checkpoint(path: str | None) -> None:
    """Refuse a path at which there is no checkpoint of Lightning's.

    Args:
        path: The value of `--ckpt_path`: a path, an address, or a word that Lightning knows.

    Raises:
        InputError: If the file does not exist or Lightning has not saved it.
    """
    if not path or "://" in path or path.partition(":")[0] in _NAMED:
        return
    if not Path(path).exists():
        raise InputError(f"--ckpt_path {path}: there is no such file; use a path or one of {', '.join(_NAMED)}")
    if not _is_saved_by_torch(Path(path)):
        raise InputError(f"--ckpt_path {path}: not a checkpoint; use a file or folder that Lightning has saved")
    if not _is_saved_by_lightning(Path(path)):
        raise InputError(
            f"--ckpt_path {path}: saved by torch, but not a checkpoint of a training; "
            "use a file that `Trainer.save_checkpoint` or `ModelCheckpoint` has saved"
        )


def misfit(path: str, error: Exception) -> InputError | None:
    """Describe an error as a checkpoint that does not fit the model or its optimizers.

    Args:
        path: The value of `--ckpt_path`.
        error: What ended the command.

    Returns:
        The error to raise instead, or `None` if it was not torch that refused to load a state.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_code.co_name != "load_state_dict":
        return None
    if not trace.tb_frame.f_globals.get("__name__", "").startswith("torch."):
        return None
    reason = reason_of(error)
    short = reason if len(reason) <= _LENGTH else reason[:_LENGTH] + " …"
    return InputError(f"--ckpt_path {path}: does not fit this model; use the options it was saved with. {short}")


def _is_saved_by_torch(path: Path) -> bool:
    """Whether a path is a zip archive as `torch.save` writes it, or the folder of a sharded checkpoint."""
    if path.is_dir():
        return (path / ".metadata").exists() or (path / "meta.pt").exists() or (path / "checkpoint").is_dir()
    with path.open("rb") as file:
        is_old = file.read(2) == b"\x80\x02"  # as written before torch 1.6
        return is_old or zipfile.is_zipfile(file)


def _is_saved_by_lightning(path: Path) -> bool:
    """Whether a file has the keys of a checkpoint; true where that cannot be told without running its code."""
    if path.is_dir() or not zipfile.is_zipfile(path):
        return True
    try:
        content: Any = torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError):
        return True
    return isinstance(content, dict) and {"pytorch-lightning_version", "state_dict"} <= content.keys()
