"""Bad checkpoints given to `lightning-clip fit`: no file, no checkpoint, or the checkpoint of another model."""

from io import BytesIO

import lightning
import torch

from tests.faults.bad_input.case import Command, Files
from tests.faults.bad_input.fits import ALWAYS, TABLE

OTHER = {
    "pytorch-lightning_version": lightning.__version__,
    "state_dict": {"w": torch.zeros(1)},
    **{key: {} for key in ("loops", "callbacks")},
    **{key: [] for key in ("optimizer_states", "lr_schedulers")},
    **dict.fromkeys(("epoch", "global_step"), 0),
}


def _saved(content: object) -> bytes:
    file = BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _checkpoint(name: str, path: str, *says: str, files: Files | None = None) -> Command:
    return Command("fit", name, says, files or {}, args=("fit", *ALWAYS, *TABLE, f"--ckpt_path={path}"))


CASES = [
    _checkpoint("ckpt missing", "none.ckpt", "none.ckpt", "no such file"),
    _checkpoint("ckpt a folder", ".", "--ckpt_path .", "not a checkpoint"),
    _checkpoint("ckpt garbage", "g.ckpt", "g.ckpt", "not a checkpoint", files={"g.ckpt": b"\0garbage" * 9}),
    _checkpoint("ckpt empty", "g.ckpt", "g.ckpt", "not a checkpoint", files={"g.ckpt": b""}),
    _checkpoint("ckpt text", "g.ckpt", "g.ckpt", "not a checkpoint", files={"g.ckpt": "epoch 3\n"}),
    _checkpoint(
        "ckpt a zip of something else",
        "g.ckpt",
        "g.ckpt",
        "not a checkpoint",
        files={"g.ckpt": b"PK\3\4" + b"\0" * 60},
    ),
    _checkpoint(
        "ckpt of weights alone",
        "g.pt",
        "g.pt",
        "not a checkpoint of a training",
        files={"g.pt": _saved({"layers.0.weight": torch.zeros(2, 2)})},
    ),
    _checkpoint("ckpt of a list", "g.pt", "g.pt", "not a checkpoint", files={"g.pt": _saved([1, 2])}),
    _checkpoint(
        "ckpt of another model",
        "g.ckpt",
        "--ckpt_path g.ckpt: does not fit this model",
        "layers.0.weight",
        files={"g.ckpt": _saved(OTHER)},
    ),
]
