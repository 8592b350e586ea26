"""`TimeSeriesDataModule`: windows, scaling and missing values."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.cli import LightningCLI

from lightning_clip import LSTMModule, TBPTTSequenceModule, TimeSeriesDataModule
from lightning_clip.datamodules.mackey_glass import mackey_glass
from tests.support.streaming import fit


def ready(**options):
    data = TimeSeriesDataModule(**options)
    data.setup("fit")
    return data


def saved(tmp_path, array):
    np.save(tmp_path / "series.npy", array)
    return str(tmp_path / "series.npy")


def everything(loader):
    return [torch.cat(parts) for parts in zip(*loader, strict=True)]


def walk(n=200, columns=2):
    return np.random.default_rng(0).normal(5.0, 3.0, (n, columns)).cumsum(axis=0)


def test_a_path_is_as_good_as_its_text(tmp_path):
    """A `pathlib.Path` names the same series."""
    text = saved(tmp_path, walk())
    one, other = ready(path=Path(text)), ready(path=text)
    assert torch.equal(one.train_rows.__getitems__([3])[0], other.train_rows.__getitems__([3])[0])


def test_windows_do_not_reach_into_another_split(tmp_path):
    """Inputs and targets of 100 steps stay within steps 0–69, 70–84 and 85–99."""
    data = ready(path=saved(tmp_path, np.arange(100.0)), window=5, scale=False)
    ranges = []
    for rows in (data.train_rows, data.val_rows, data.test_rows):
        inputs, targets = rows.__getitems__(range(len(rows)))
        ranges.append((int(inputs.min()), int(targets.max())))
    assert ranges == [(0, 69), (70, 80), (85, 95)]  # evaluation: two whole windows of 15 steps


def test_scaling_looks_at_the_training_part_only(tmp_path):
    """The training part has mean 0 and standard deviation 1, whatever values come later."""
    series = walk()
    data = ready(path=saved(tmp_path, series), window=4)
    series[140:] *= 1e6
    other = ready(path=saved(tmp_path, series), window=4)
    scaled = data.train_rows.inputs
    torch.testing.assert_close(scaled.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(2))
    assert torch.equal(scaled, other.train_rows.inputs)
    assert other.test_rows.inputs.abs().max() > 1e5


def test_outputs_lead_back_to_the_units_of_the_file(tmp_path):
    """`unscale` undoes the scaling of the targets."""
    series = walk()
    data = ready(path=saved(tmp_path, series), targets=["1"], columns=["0"], window=4)
    back = data.unscale(data.test_rows.targets)
    np.testing.assert_allclose(back[:, 0], series[170:, 1], rtol=1e-4)


def test_columns_and_targets_are_chosen_by_name(tmp_path):
    """Columns and targets of a CSV file with dates are selected by name."""
    path = tmp_path / "prices.csv"
    lines = [f"2020-01-{day},{day},{day * 10},{day * 100}" for day in range(1, 61)]
    path.write_text("\n".join(["date,a,b,c", *lines]))
    data = ready(path=str(path), columns=["c", "a"], targets=["b"], window=3, horizon=2, scale=False)
    inputs, targets = data.train_rows[0]
    assert inputs.tolist() == [[100, 1], [200, 2], [300, 3]]
    assert targets.tolist() == [[30], [40], [50]]
    assert (data.in_features, data.out_features) == (2, 1)


def test_a_constant_column_is_left_at_zero(tmp_path):
    """A constant column becomes zero, without division by zero."""
    data = ready(path=saved(tmp_path, np.stack([np.arange(50.0), np.full(50, 7.0)], axis=1)), window=4)
    assert not data.train_rows.inputs[:, 1].any()
    assert data.std.tolist()[1] == 1.0


def test_training_windows_overlap_and_are_shuffled(tmp_path):
    """Training windows are `stride` apart; evaluation windows do not overlap unless each has a single target."""
    path = saved(tmp_path, np.arange(100.0))
    data = ready(path=path, window=5, stride=2, batch_size=4, scale=False)
    assert len(data.train_rows) == 33
    assert not torch.equal(everything(data.train_dataloader())[0], everything(data.train_dataloader())[0])
    targets = everything(data.val_dataloader())[1].flatten().tolist()
    assert len(set(targets)) == len(targets) == 10
    last = ready(path=path, window=5, last_step_only=True, scale=False)
    assert everything(last.val_dataloader())[1].flatten().tolist() == list(range(75, 85))


def test_a_split_may_be_missing(tmp_path):
    """A fraction of 0 gives no loader."""
    data = ready(path=saved(tmp_path, np.arange(100.0)), window=5, val_fraction=0, test_fraction=0)
    assert data.val_dataloader() == data.test_dataloader() == []
    assert len(data.train_rows.inputs) == 100


def test_missing_values_are_refused(tmp_path):
    """By default, a missing value raises an error with its place and what to do."""
    path = tmp_path / "data.csv"
    path.write_text("a,b\n" + "1,2\n" * 20 + "1,\n" + "1,2\n" * 20)
    with pytest.raises(ValueError, match=r"data\.csv, line 22, column 'b': the value is missing; .* missing='mask'\."):
        ready(path=str(path), window=3)
    ready(path=str(path), window=3, columns=["a"])


def with_gaps():
    series = walk(300)
    series[10, 0] = series[50:60, 1] = series[290] = np.nan
    return series


def test_missing_values_can_be_masked(tmp_path):
    """`missing="mask"` replaces values by the mean, adds indicators and masks targets; nothing is NaN."""
    series = with_gaps()
    data = ready(path=saved(tmp_path, series), missing="mask", window=8)
    assert (data.in_features, data.out_features) == (4, 2)
    present = torch.from_numpy(np.isfinite(series[:210]))
    inputs = data.train_rows.inputs
    assert torch.equal(inputs[:, 2:].bool(), present)
    assert not inputs[:, :2][~present].any()
    expected = (series[:210] - np.nanmean(series[:210], axis=0)) / np.nanstd(series[:210], axis=0)
    torch.testing.assert_close(inputs[:, :2], torch.from_numpy(np.nan_to_num(expected, nan=0.0)).float())
    batch = everything(data.train_dataloader())
    assert [part.isfinite().all() for part in batch] == [True] * 3
    assert torch.equal(data.train_rows[0][2], present[1:9].all(1))


def test_with_one_target_a_window_without_it_is_left_out(tmp_path):
    """With `last_step_only`, windows without a target are dropped and there is no mask."""
    data = ready(path=saved(tmp_path, with_gaps()), missing="mask", window=8, last_step_only=True)
    inputs, targets = everything(data.train_dataloader())
    assert len(inputs) == len(targets) == 202 - 11
    assert targets.isfinite().all()


def test_the_default_is_the_mackey_glass_series():
    """The default is 10,000 standardized values of the Mackey-Glass series."""
    data = ready()
    series = mackey_glass(10_000)
    scaled = (series[:7000] - series[:7000].mean()) / series[:7000].std()
    np.testing.assert_allclose(data.train_rows.inputs[:, 0], scaled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("missing", ["refuse", "mask"])
def test_networks_train_on_it(tmp_path, last, missing):
    """Networks train on it in chunks, and on whole windows if there is no mask."""
    path = saved(tmp_path, with_gaps() if missing == "mask" else walk(300))
    data = TimeSeriesDataModule(path, window=20, missing=missing, last_step_only=last)
    sizes = {"in_features": data.in_features, "out_features": 2, "task": "regression", "many_to_many": not last}
    trainer = fit(TBPTTSequenceModule(truncated_bptt_steps=8, **sizes), data, limit_val_batches=1.0)
    assert trainer.callback_metrics["val_mse"].isfinite()
    if last or missing == "refuse":
        fit(LSTMModule(**sizes), data)


def test_it_can_be_sent_to_another_process():
    """It can be pickled before and after `setup`."""
    early = pickle.loads(pickle.dumps(TimeSeriesDataModule(window=5)))
    early.setup("fit")
    late = pickle.loads(pickle.dumps(early))
    assert torch.equal(late.train_rows.inputs, early.train_rows.inputs)


def test_setup_for_a_second_stage_reads_nothing():
    """A second `setup` does not read the file again."""
    data = ready()
    rows = data.train_rows
    data.setup("test")
    assert data.train_rows is rows


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning calls what jsonargparse deprecates
def test_the_command_line_makes_it(monkeypatch):
    """The command line builds it from plain values."""
    arguments = ["--data=lightning_clip.TimeSeriesDataModule", "--data.columns=[a,b]", "--data.missing=mask"]
    monkeypatch.setattr(sys, "argv", ["program", "--model=lightning_clip.LSTMModule", *arguments])
    made = LightningCLI(run=False, save_config_callback=None, seed_everything_default=0).datamodule
    assert (made.columns, made.missing) == (["a", "b"], "mask")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"window": 0}, ValueError, r"TimeSeriesDataModule\(window=0\): window must be at least 1"),
        ({"horizon": 0}, ValueError, "horizon must be at least 1"),
        ({"stride": 1.0}, TypeError, "stride must be a whole number"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"missing": "drop"}, ValueError, r"missing='drop'\): missing must be one of 'refuse', 'mask'"),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, ValueError, "both must be at least 0, and their sum below 1"),
    ],
)
def test_bad_arguments(arguments, error, message):
    """Bad arguments raise an error with the call and the rule."""
    with pytest.raises(error, match=message):
        TimeSeriesDataModule(**arguments)


def test_files_that_cannot_be_used(tmp_path):
    """Files that are too short, infinite, empty in the training part or missing raise an error of one line."""
    with pytest.raises(ValueError, match=r"window=64, horizon=1\): the training part has 14 steps, too few for a win"):
        ready(path=saved(tmp_path, np.arange(20.0)))
    series = walk()
    series[7, 1] = np.inf
    with pytest.raises(ValueError, match=r"series\.npy, row 7, column '1': the value is infinite"):
        ready(path=saved(tmp_path, series))
    series[:, 1] = np.nan
    with pytest.raises(ValueError, match="a column has no values in the training part"):
        ready(path=saved(tmp_path, series), missing="mask")
    with pytest.raises(ValueError, match=r"nowhere\.csv: No such file"):
        ready(path=str(tmp_path / "nowhere.csv"))
