"""Our networks, mixins, data modules and callbacks as classes of `pytorch_lightning`.

`lightning.pytorch` and `pytorch_lightning` are the same code under two names, each with classes of its own, and the
Trainer of one refuses the modules of the other. Those of `lightning_clip` are for `lightning.pytorch`; this module has
the same names for `pytorch_lightning`: `from lightning_clip.pytorch_lightning import RNNModule`. Each class is made
when it is first used, and is a subclass of ours, with no code of its own. Only a LightningCLI needs the callbacks of
this module: both Trainers take those of `lightning_clip`.

On a command line, give the whole `class_path`; a bare name, such as `--model RNNModule`, is that of our class.
"""

from lightning_clip._pytorch_lightning import __dir__, __getattr__  # noqa: F401  # of this module too
