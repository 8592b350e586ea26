"""Records, checkpoints and results written before the modules of the package moved can still be read."""

import shutil
from pathlib import Path

import pytest
from lightning.pytorch import Callback

from lightning_clip import (
    AutoClip,
    CsvSink,
    DivergenceRollback,
    GradientClipping,
    LSTMModule,
    NonFiniteGuard,
    NormClip,
    RecurrentSpectrumMonitor,
    StrategySwitcher,
    TemporalGradientMonitor,
    TemporalOrderDataModule,
    ZClip,
    load_record,
)
from lightning_clip.core import ParameterTotals, RunInfo
from lightning_clip.studies import ResultsFolder
from tests.support.training import quiet_trainer

WRITTEN = Path(__file__).parent.parent / "data" / "first_version"


def callbacks() -> list[Callback]:
    """The callbacks of the run that was saved."""
    return [
        NonFiniteGuard("skip"),
        GradientClipping(AutoClip(50, window=8), flush_every_n_steps=5, group_by="rnn"),
        StrategySwitcher([ZClip(warmup_steps=3), NormClip(0.1)]),
        DivergenceRollback(snapshot_every_n_steps=5),
        TemporalGradientMonitor(every_n_steps=10),
        RecurrentSpectrumMonitor(every_n_steps=10),
    ]


def test_a_record_can_be_read():
    """Steps, losses, events, measurements and parameters are all there."""
    record = load_record(WRITTEN / "run.jsonl")
    assert record.run.model == "LSTMModule"
    assert [step.step for step in record.history] == list(range(20))
    assert all(step.loss is not None for step in record.history)
    assert [event.kind for event in record.history.events][:2] == ["switch", "non-finite"]
    assert {"temporal-gradient", "recurrent-spectrum", "gate-norms"} <= set(record.history.measurements.kinds)
    assert "recurrent.weight_hh_l0" in record.history.parameters.names
    assert record.history.aggregates[0].first_nonfinite == 15
    assert record.diagnose()
    assert "LSTMModule" in str(record.report())


def test_rows_can_be_added_to_a_csv_file(tmp_path):
    """A run that continues behind the last row adds to the file."""
    path = Path(shutil.copy(WRITTEN / "run.csv", tmp_path))
    rows = path.read_text(encoding="utf-8").splitlines()
    sink = CsvSink(path)
    sink.open(RunInfo(start_step=20))
    sink.write([load_record(WRITTEN / "run.jsonl").history[0]])
    sink.close(RunInfo(), ParameterTotals())
    assert path.read_text(encoding="utf-8").splitlines() == [*rows, rows[1]]


def test_results_can_be_read(tmp_path):
    """The results of a study name its runs, metrics and divergences."""
    shutil.copy(WRITTEN / "results.json", tmp_path)
    found = ResultsFolder(tmp_path).read()
    assert (found.study, found.experiment) == ("cliff", None)
    assert [(run.strategy, run.seed) for run in found.runs] == [
        ("none", 0),
        ("none", 1),
        ("norm-1.0", 0),
        ("norm-1.0", 1),
    ]
    assert all(run.metrics["longest_step"] is not None for run in found.runs if not run.diverged)


def test_a_run_can_be_resumed():
    """Every callback takes its state from the checkpoint, and the run continues."""
    data = TemporalOrderDataModule(12, batch_size=4, batches_per_epoch=10, n_val=4, n_test=4)
    model = LSTMModule(in_features=data.in_features, out_features=data.out_features, hidden_size=3)
    guard, clipping, switcher, rollback, temporal, spectrum = used = callbacks()
    fitting = quiet_trainer(max_epochs=-1, max_steps=25, callbacks=used, limit_val_batches=0)
    fitting.fit(model, datamodule=data, ckpt_path=WRITTEN / "run.ckpt", weights_only=True)
    assert fitting.global_step == 25
    assert [step.step for step in clipping.history] == list(range(25))
    assert clipping.history.aggregates[0].steps == 25
    assert clipping.history.aggregates[0].first_nonfinite == 15
    assert guard.total == 1
    assert switcher.rung == 1
    assert rollback.restores == 0
    assert spectrum.latest.step == 20
    assert [profile.step for profile in temporal.profiles] == [20]


@pytest.mark.parametrize("name", ["run.jsonl", "run.ckpt"])
def test_the_files_are_small(name):
    """Data for tests stays below 40 kB a file."""
    assert (WRITTEN / name).stat().st_size < 40_000
