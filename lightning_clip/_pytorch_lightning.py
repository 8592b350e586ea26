"""What `lightning_clip.pytorch_lightning` consists of.

Its classes belong to this module, because jsonargparse passes over private modules where it looks for a bare name:
they have the names of ours, and are subclasses of them, so every bare name would be ambiguous otherwise.
"""

from abc import ABCMeta
from functools import cache
from typing import Any

import lightning.pytorch

from lightning_clip._lazy import lazy_names

try:
    import pytorch_lightning
except ModuleNotFoundError as error:
    needs = "lightning_clip.pytorch_lightning needs pytorch_lightning: pip install pytorch-lightning"
    raise ModuleNotFoundError(needs, name="pytorch_lightning") from error

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
