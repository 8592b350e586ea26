"""Our networks, mixins, data modules and callbacks as classes of `pytorch_lightning`.

`lightning.pytorch` and `pytorch_lightning` are the same code under two names, each with classes of its own, and the
Trainer of one refuses the modules of the other. Those of `lightning_clip` are for `lightning.pytorch`; this module has
the same names for `pytorch_lightning`: `from lightning_clip.pytorch_lightning import RNNModule`. Each class is made
when it is first used, and is a subclass of ours, with no code of its own. Only a LightningCLI needs the callbacks of
this module: both Trainers take those of `lightning_clip`.

Where both are in use, a bare class name such as `--model RNNModule` is ambiguous; give the whole `class_path`.
"""

from abc import ABCMeta
from functools import cache
from typing import Any

import lightning.pytorch

from lightning_clip._lazy import lazy_names

try:
    import pytorch_lightning
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{__name__} needs pytorch_lightning: pip install pytorch-lightning", name="pytorch_lightning"
    ) from error

_ROOTS: dict[type, type] = {
    lightning.pytorch.LightningModule: pytorch_lightning.LightningModule,
    lightning.pytorch.LightningDataModule: pytorch_lightning.LightningDataModule,
    lightning.pytorch.Callback: pytorch_lightning.Callback,
}


class _Twin(ABCMeta):
    """Leaves the classes of `lightning` out of the order in which Python looks for attributes.

    So `super()` in our classes, which are bases of their twins, leads to `pytorch_lightning`.
    """

    def mro(cls) -> list[type]:
        return [kind for kind in super().mro() if kind.__module__.partition(".")[0] != "lightning"]


@cache
def _twin(ours: type) -> type:
    """The class of the same name whose bases are ours and, in the place of its bases, their twins."""
    if ours in _ROOTS:
        return _ROOTS[ours]
    bases: list[Any] = [base for base in ours.__bases__ if issubclass(base, tuple(_ROOTS))]
    return _Twin(ours.__name__, (ours, *map(_twin, bases)), {"__module__": __name__, "__doc__": ours.__doc__})


_ours, _names = lazy_names("lightning_clip", ["callbacks", "modules", "datamodules"])


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return __dir__()
    if not issubclass(ours := _ours(name), tuple(_ROOTS)):
        raise AttributeError(f"{name} has no base class in Lightning: use that of lightning_clip")
    return _twin(ours)


def __dir__() -> list[str]:
    return [name for name in _names() if issubclass(_ours(name), tuple(_ROOTS))]
