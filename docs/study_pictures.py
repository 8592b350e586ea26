"""The pictures of the studies page. `make figures` runs the studies it needs and writes `docs/pictures/studies`.

With names of folders that `lightning-clip compare` wrote, it draws their results instead of running the studies again:
`python docs/study_pictures.py runs/mlp-regression-1 runs/mlp-strategies-1`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from picture_files import save_png

from lightning_clip import RegressionDataModule, read_jsonl
from lightning_clip.studies import ResultsFolder, StudyResults, load_study, run_study
from lightning_clip.studies.comparison.learning_curves import LEARNING_CURVE, LearningCurve, plot_learning_curves
from lightning_clip.studies.story import study_figure

TARGET = Path(__file__).parent / "pictures" / "studies"
STUDIES = ("mlp-regression", "mlp-strategies", "mlp-thresholds", "mlp-remedies", "mlp-diabetes", "cliff")
COLOR = "#0072B2"


def main(folders: Sequence[str]) -> None:
    """Write every picture.

    Args:
        folders: The folders of studies that have already run; the other studies run now, into `runs/figures`.
    """
    TARGET.mkdir(parents=True, exist_ok=True)
    save(target_figure(), "tutorial-target")
    given = {ResultsFolder(folder).read().study: ResultsFolder(folder) for folder in folders}
    for name in STUDIES:
        folder = given.get(name) or run(name)
        results = folder.read()
        if name == "mlp-regression":
            save(plot_learning_curves(curves_of(results, folder, list(load_study(name).strategies))), f"{name}-curves")
        else:
            save(study_figure(load_study(name), results.runs), name)


def run(name: str) -> ResultsFolder:
    """Run a study, or finish one that was interrupted."""
    folder = ResultsFolder(Path("runs") / "figures" / name)
    finished = folder.read().runs if folder.has_results() else []
    run_study(load_study(name), folder, jobs=None, finished=finished)
    return folder


def target_figure() -> Figure:
    """Draw the histogram and the box plot of the target, as the first figure of the tutorial does."""
    data = RegressionDataModule()
    data.setup("fit")
    target = np.concatenate([data.train_rows.targets, data.eval_rows.targets])[:, 0]
    figure = Figure(layout="constrained", figsize=(6.4, 3.6))
    histogram, box = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    histogram.hist(target, bins=30, color=COLOR, edgecolor="white", linewidth=0.5)
    histogram.set_ylabel("rows")
    box.boxplot(target, orientation="horizontal", widths=0.6, medianprops={"color": "black"})
    box.set_yticks([])
    box.set_xlabel(f"target: mean {target.mean():.1f}, standard deviation {target.std():.0f}")
    for plot in (histogram, box):
        plot.spines[["top", "right"]].set_visible(False)
    return figure


def curves_of(
    results: StudyResults, folder: ResultsFolder, strategies: Sequence[str]
) -> dict[str, list[LearningCurve]]:
    """Read the learning curves of some strategies of a study."""
    curves: dict[str, list[LearningCurve]] = {name: [] for name in strategies}
    for one in results.runs:
        if one.strategy in curves:
            samples = read_jsonl(folder.record_of(one.key))[1].measurements.of(LEARNING_CURVE)
            curves[one.strategy].append(LearningCurve.of(samples, one.diverged_at_step))
    return curves


def save(figure: Figure, name: str) -> None:
    """Write a picture of the page."""
    save_png(figure, TARGET / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
