"""See, clip and explain gradients in PyTorch Lightning."""

from typing import TYPE_CHECKING

from lightning_clip._lazy import lazy_names
from lightning_clip._version import __version__

if TYPE_CHECKING:
    from lightning_clip.callbacks import *
    from lightning_clip.core import *
    from lightning_clip.datamodules import *
    from lightning_clip.modules import *
    from lightning_clip.sinks import *
    from lightning_clip.strategies import *

# Reading a record again needs neither Lightning nor a model: each part is imported when one of its names is used.
__getattr__, __dir__ = lazy_names(__name__, ["core", "strategies", "sinks", "callbacks", "modules", "datamodules"])
