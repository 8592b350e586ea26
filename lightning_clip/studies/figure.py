"""`write_picture`: the figure of a study, where it can be drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_clip.studies.comparison.figure import plot_comparison
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.experiment import Experiment
from lightning_clip.studies.factory import build
from lightning_clip.studies.results import ResultsFolder
from lightning_clip.studies.study import Study

_DOTS_PER_INCH = 150


def study_figure(study: Study, results: Sequence[RunResult]) -> Any:
    """The figure of a study: that of its experiment, or else of its main metric.

    Args:
        study: What was run.
        results: What came out.

    Returns:
        A matplotlib figure.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    if study.experiment is not None:
        experiment: Experiment = build(Experiment, study.experiment)  # type: ignore[type-abstract]
        figure = experiment.figure(study.cells(), results)
        if figure is not None:
            return figure
    return plot_comparison(results, study.name)


def write_picture(study: Study, results: Sequence[RunResult], folder: ResultsFolder) -> Path | None:
    """Draw the figure of a study into its folder.

    Args:
        study: What was run.
        results: What came out.
        folder: Where the file is written.

    Returns:
        The file; `None` where matplotlib is not installed.
    """
    try:
        figure = study_figure(study, results)
    except ModuleNotFoundError:
        return None
    path = folder.path / "figure.png"
    figure.savefig(path, dpi=_DOTS_PER_INCH)
    return path
