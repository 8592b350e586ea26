"""One seeded run: the same numbers wherever they are shown."""

import csv
import json
import re
from html import escape

import pytest
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.loggers import CSVLogger

from lightning_clip import load_record
from lightning_clip.reports.formats import count, number, percent
from lightning_clip.studies import ResultsFolder, training
from lightning_clip.studies.cell import Cell
from tests.support.command import call

STEPS, LIMIT = 24, 2500.0


class Keeper(Callback):
    """Keeps the metrics that callbacks see at the end of training; a test after it replaces them."""

    def on_train_end(self, trainer, pl_module):
        self.metrics = {key: value.item() for key, value in trainer.callback_metrics.items()}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Callback metrics, rows of the CSV logger, the record, the row of `results.json`, text, JSON and HTML of a run."""
    folder = tmp_path_factory.mktemp("run")
    results = ResultsFolder(folder / "study")
    logger = CSVLogger(folder)
    cell = Cell(
        model_name="mlp",
        model={"class_path": "MLPRegressor", "init_args": {"in_features": 20}},
        strategy_name="norm",
        strategy={"class_path": "NormClip", "init_args": {"max_norm": LIMIT}},
        data={"class_path": "RegressionDataModule", "init_args": {"n_samples": 128, "batch_size": 16}},
        seed=3,
        trainer={"max_steps": STEPS, "logger": logger, "log_every_n_steps": 1},
    )
    keeper = Keeper()
    with pytest.MonkeyPatch.context() as patch:
        make = training.make_trainer
        patch.setattr(training, "make_trainer", lambda callbacks, options: make([*callbacks, keeper], options))
        seed_everything(3, verbose=False)
        with training.quiet_lightning():
            result = training.Training().run(cell, results.record_of(cell.key))
    results.write("one run", [result])
    logger.save()
    with open(logger.experiment.metrics_file_path) as file:
        rows = [row for row in csv.DictReader(file) if row["grad_norm/total"]]
    return keeper.metrics, rows, results.record_of(cell.key), results.read().runs[0], folder


def test_every_place_says_the_same(shown, capsys):
    """Norms, threshold, clipped share, counts and losses, step by step and over the run."""
    metrics, rows, path, result, folder = shown
    record = load_record(path)
    steps, (total,) = list(record.history), record.history.aggregates.values()
    assert len(steps) == len(rows) == result.steps == total.steps == STEPS

    # step by step: the CSV logger writes float32, the record float64
    for key, name in (("grad_norm/total", "norm_before"), ("grad_norm/total_clipped", "norm_after")):
        assert [float(row[key]) for row in rows] == [getattr(one, name) for one in steps]
    assert [float(row["clip/active"]) for row in rows] == [float(one.clipped) for one in steps]
    assert {float(row["clip/threshold"]) for row in rows} == {one.threshold for one in steps} == {LIMIT}
    assert metrics["grad_norm/total"] == pytest.approx(steps[-1].norm_before, rel=1e-6)
    assert metrics["clip/coef"] == pytest.approx(steps[-1].clip_coef, rel=1e-6)
    assert metrics["clip/skipped_total"] == total.skipped == 0

    # over the run: the file of a study, the plain data, the page and the terminal
    fraction = sum(one.clipped for one in steps) / STEPS
    assert 0 < fraction < 1
    assert result.clipped_fraction == total.clipped_fraction == fraction
    assert call("report", path, "--json", "--html", folder / "page.html") == 0
    plain = json.loads(capsys.readouterr().out)["optimizers"][0]
    norms = [one.norm_before for one in steps]
    assert (plain["steps"], plain["clipped"], plain["clipped_fraction"]) == (STEPS, total.clipped, fraction)
    assert (plain["min"], plain["max"]) == (min(norms), max(norms))
    assert plain["mean"] == pytest.approx(sum(norms) / STEPS)
    assert plain["median"] == pytest.approx(sorted(norms)[(STEPS - 1) // 2], rel=0.0014)
    assert call("report", path, "--width", "100") == 0
    text = capsys.readouterr().out
    sentence = f"clipped {count(total.clipped)} of {STEPS} steps ({percent(fraction)})"
    page = (folder / "page.html").read_text(encoding="utf-8")
    for where in (text, page):
        assert sentence in where
        (line,) = re.findall(r"Norm before clipping +([\d.,e+-]+) +([\d.,e+-]+) ", where)
        assert line == (number(plain["min"]), number(plain["median"]))
    for one in record.to_dict()["parameters"]:
        cells = number(one["median"]), number(one["max"]), escape(percent(one["share"]))
        assert "".join(f"<td>{cell}</td>" for cell in cells) in page
