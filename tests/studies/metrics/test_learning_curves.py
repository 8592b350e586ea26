"""`LearningCurves`: what it measures, and the picture of a study that has it."""

from lightning.pytorch import Callback
from typing_extensions import override

from lightning_clip import read_jsonl
from lightning_clip.cli.compare import compare
from lightning_clip.studies import ResultsFolder, run_study
from lightning_clip.studies.comparison.learning_curves import LEARNING_CURVE
from tests.support.studies import tiny_study, written_study

CURVES = {"class_path": "lightning_clip.studies.LearningCurves"}
LOGGED: list[tuple[float, float]] = []


class Listening(Callback):
    """Notes what the module logged for each epoch, once all hooks of the epoch have run."""

    @override
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch:
            LOGGED.append((float(trainer.callback_metrics["train_mse"]), float(trainer.callback_metrics["val_mse"])))

    @override
    def on_fit_end(self, trainer, pl_module):
        self.on_train_epoch_start(trainer, pl_module)


def test_each_epoch_is_a_sample_of_both_errors(tmp_path):
    """The samples are the numbers that the module logs as `train_mse` and `val_mse`, one per epoch."""
    LOGGED.clear()
    study = tiny_study(
        strategies={"norm-1.0": {"class_path": "lightning_clip.NormClip"}},
        callbacks=[CURVES, {"class_path": f"{__name__}.Listening"}],
        trainer={"limit_val_batches": 1.0, "limit_train_batches": 2},
        seeds=1,
        max_epochs=3,
    )
    folder = ResultsFolder(tmp_path)
    (run,) = run_study(study, folder)
    samples = read_jsonl(folder.record_of(run.key))[1].measurements.of(LEARNING_CURVE)
    assert [(one.step, one.data["epoch"]) for one in samples] == [(2, 1.0), (4, 2.0), (6, 3.0)]
    assert [(one.data["train"], one.data["validation"]) for one in samples] == LOGGED
    assert run.metrics.keys() == {"train_mse", "test_mse"}


def test_a_study_with_curves_has_their_picture(tmp_path, monkeypatch, capsys):
    """`compare` draws them beside the other figure, and says where."""
    monkeypatch.chdir(tmp_path)
    study = written_study(tmp_path, callbacks=[CURVES], trainer={"limit_val_batches": 1.0}, seeds=1)
    compare(str(study), seeds=None, jobs=1, output=tmp_path / "out", resume=False, command="")
    assert (tmp_path / "out" / "learning-curves.png").exists()
    assert f"Figure: {tmp_path / 'out' / 'learning-curves.png'}" in capsys.readouterr().out
