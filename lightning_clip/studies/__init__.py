"""Studies: models x strategies x seeds over one data module, what to run, how, and what came out."""

from lightning_clip.studies.cell import Cell, run_cell
from lightning_clip.studies.results import ResultsFolder
from lightning_clip.studies.runner import run_study
from lightning_clip.studies.study import Study, load_study

__all__ = ["Cell", "ResultsFolder", "Study", "load_study", "run_cell", "run_study"]
