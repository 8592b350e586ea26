"""Studies: models x strategies x seeds over one data module, what to run, how, and what came out."""

from typing import TYPE_CHECKING

from lightning_clip._lazy import lazy_names

if TYPE_CHECKING:
    from lightning_clip.studies.cell import *
    from lightning_clip.studies.results import *
    from lightning_clip.studies.runner import *
    from lightning_clip.studies.study import *

# Showing the results of a study needs none of what running one needs.
__getattr__, __dir__ = lazy_names(__name__, ["results", "study", "cell", "runner"])
