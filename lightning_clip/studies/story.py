"""What people see of a finished study: `story` for the terminal and `report.txt`, and its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from lightning_clip._errors import InputError
from lightning_clip.reports.console import render_report
from lightning_clip.reports.text import Report
from lightning_clip.sinks.jsonl_reader import read_jsonl
from lightning_clip.studies.comparison.figure import plot_comparison
from lightning_clip.studies.comparison.learning_curves import LEARNING_CURVE, LearningCurve, plot_learning_curves
from lightning_clip.studies.comparison.report import render_comparison
from lightning_clip.studies.comparison.result import RunResult, key_in_words
from lightning_clip.studies.results import Environment, ResultsFolder, StudyResults
from lightning_clip.studies.showcase import showcase

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lightning_clip.studies.experiment import Experiment
    from lightning_clip.studies.factory import Config
    from lightning_clip.studies.study import Study

_DOTS_PER_INCH = 150


def story(results: StudyResults, folder: ResultsFolder) -> RenderableType:
    """Show the comparison, a failed run beside the same run with clipping, and what the experiment adds.

    Args:
        results: The results of the study.
        folder: The folder that contains the records.

    Returns:
        What to print.
    """
    parts: list[RenderableType] = [render_comparison(results.runs, title=results.study)]
    parts += [Padding(Text(f"ran on {_in_words(one)}", "dim"), (0, 2, 1, 2)) for one in results.environments]
    for result in showcase(results.runs):
        record = folder.record_of(result.key)
        if record.exists():
            run, history = read_jsonl(record)
            parts.append(render_report(history, run, title=key_in_words(result.key)))
    try:
        experiments = list(_experiments(results.experiment))
    except InputError as error:
        raise InputError(f"{folder.path / 'results.json'}: experiment: {error}") from error
    for experiment in experiments:
        parts += experiment.report(results.runs, folder.record_of)
    return Report(*parts)


def _in_words(environment: Environment) -> str:
    """What the numbers of diverging runs depend on."""
    names = ("python", "torch", "lightning")
    versions = ", ".join(f"{name} {environment[name]}" for name in names if name in environment)
    return f"{environment.get('cpu', 'an unknown CPU')} with {versions or 'unknown versions'}"


def study_figure(study: Study, results: Sequence[RunResult]) -> Figure:
    """Draw the figure of a study: the one of its experiment, otherwise one of its main metric.

    Args:
        study: The study.
        results: Its results.

    Returns:
        A matplotlib figure.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    figures = (experiment.figure(study.cells(), results) for experiment in _experiments(study.experiment))
    return next((figure for figure in figures if figure is not None), None) or plot_comparison(results, study.name)


def write_figure(study: Study, results: Sequence[RunResult], folder: ResultsFolder) -> Path | None:
    """Draw the figure of a study into its folder.

    Args:
        study: The study.
        results: Its results.
        folder: The folder for the file.

    Returns:
        The path of the file; `None` if matplotlib is not installed.
    """
    try:
        figure = study_figure(study, results)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return None
    path = folder.path / "figure.png"
    figure.savefig(path, dpi=_DOTS_PER_INCH)
    return path


def write_learning_curves(study: Study, results: Sequence[RunResult], folder: ResultsFolder) -> Path | None:
    """Draw the learning curves of a study into its folder, if `LearningCurves` is among its callbacks.

    Args:
        study: The study.
        results: Its results.
        folder: The folder that contains the records, and for the file.

    Returns:
        The path of the file; `None` if there are no curves, or matplotlib is not installed.
    """
    names = [str(config.get("class_path")).rpartition(".")[2] for config in study.callbacks]
    if "LearningCurves" not in names or find_spec("matplotlib") is None:
        return None
    curves: dict[str, list[LearningCurve]] = {}
    several = len({run.model for run in results}) > 1
    for run in results:
        record = folder.record_of(run.key)
        if record.exists():
            samples = read_jsonl(record)[1].measurements.of(LEARNING_CURVE)
            where = [run.model] * several + [run.strategy] + [f"{name} {value}" for name, value in run.axes.items()]
            curves.setdefault(", ".join(where), []).append(LearningCurve.of(samples, run.diverged_at_step))
    if not any(curve.epochs for own in curves.values() for curve in own):
        return None
    path = folder.path / "learning-curves.png"
    plot_learning_curves(curves, study.name).savefig(path, dpi=_DOTS_PER_INCH)
    return path


def _experiments(config: Config | None) -> Iterator[Experiment]:
    """Yield the experiment of a study, or nothing if its cells are trained."""
    if config is not None:
        from lightning_clip.studies.experiment import Experiment  # building it may need torch and Lightning
        from lightning_clip.studies.factory import build

        yield build(Experiment, config)  # type: ignore[type-abstract]
