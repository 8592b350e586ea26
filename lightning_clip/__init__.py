"""See, clip and explain gradients in PyTorch Lightning."""

from lightning_clip._version import __version__
from lightning_clip.callbacks import *
from lightning_clip.core import *
from lightning_clip.datamodules import *
from lightning_clip.modules import *
from lightning_clip.sinks import *
from lightning_clip.strategies import *
