"""See, clip and explain gradients in PyTorch Lightning."""

from lightning_clip._version import __version__
from lightning_clip.core import *
from lightning_clip.strategies import *
