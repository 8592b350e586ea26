"""`RegressionDataModule`: its rows, their split and order."""

import pickle
import sys

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.cli import LightningCLI
from sklearn.datasets import load_diabetes, make_regression

from lightning_clip.datamodules import RegressionDataModule


def ready(*arguments, **options) -> RegressionDataModule:
    data = RegressionDataModule(*arguments, **options)
    data.setup("fit")
    return data


def all_rows(data: RegressionDataModule) -> tuple[np.ndarray, np.ndarray]:
    inputs = torch.cat([data.train_rows.inputs, data.eval_rows.inputs])
    targets = torch.cat([data.train_rows.targets, data.eval_rows.targets])
    return inputs.numpy(), targets.numpy()[:, 0]


def test_the_rows_are_those_of_make_regression():
    """The defaults are those of the reference, and no row is moved."""
    inputs, target = make_regression(n_samples=1000, n_features=20, n_informative=10, noise=0.1, random_state=1)
    data = ready()
    ours = all_rows(data)
    assert (len(data.train_rows), len(data.eval_rows)) == (500, 500)
    assert np.array_equal(ours[0], inputs.astype(np.float32))
    assert np.array_equal(ours[1], target.astype(np.float32))


def test_every_argument_reaches_make_regression():
    """Other arguments give exactly the rows that scikit-learn generates from them."""
    arguments = {"n_samples": 31, "n_features": 7, "n_informative": 3, "noise": 2.0, "random_state": 5}
    inputs, target = make_regression(**arguments)
    data = ready(**arguments)
    assert (len(data.train_rows), len(data.eval_rows), data.in_features) == (15, 16, 7)
    assert np.array_equal(all_rows(data)[0], inputs.astype(np.float32))
    assert np.array_equal(all_rows(data)[1], target.astype(np.float32))


@pytest.mark.parametrize("source", ["synthetic", "diabetes"])
def test_batches(source):
    """Batches are float32 `(32, features)` and `(32, 1)`, the last one smaller; evaluation is in order."""
    data = ready(source)
    batches = list(data.train_dataloader())
    rows = len(data.train_rows)
    assert [len(inputs) for inputs, _ in batches] == [32] * (rows // 32) + [rows % 32]
    assert batches[0][0].shape == (32, data.in_features)
    assert batches[0][1].shape == (32, data.out_features)
    assert batches[0][0].dtype == batches[0][1].dtype == torch.float32
    for loader in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        assert torch.equal(torch.cat([inputs for inputs, _ in loader]), data.eval_rows.inputs)
        assert torch.equal(torch.cat([targets for _, targets in loader]), data.eval_rows.targets)


def test_one_epoch_has_each_training_row_once():
    """An epoch has each training row once, and inputs stay with their targets."""
    data = ready(n_samples=100)
    inputs, targets = (torch.cat(parts) for parts in zip(*data.train_dataloader(), strict=True))
    order = targets[:, 0].argsort()
    expected = data.train_rows.targets[:, 0].argsort()
    assert torch.equal(targets[order], data.train_rows.targets[expected])
    assert torch.equal(inputs[order], data.train_rows.inputs[expected])


def test_the_global_seed_decides_the_order():
    """The same seed gives the same order; it differs between epochs and between seeds."""
    data = ready()
    orders = []
    for seed in (0, 0, 1):
        seed_everything(seed)
        loader = data.train_dataloader()
        orders.append([torch.cat([targets for _, targets in loader]) for _epoch in range(2)])
    assert torch.equal(orders[0][0], orders[1][0])
    assert torch.equal(orders[0][1], orders[1][1])
    assert not torch.equal(orders[0][0], orders[0][1])
    assert not torch.equal(orders[0][0], orders[2][0])


def test_diabetes_rows_are_shuffled_and_scaled_on_the_training_half():
    """Each patient appears once, and features are standardized by the 221 training rows."""
    inputs, target = load_diabetes(return_X_y=True, scaled=False)
    data = ready("diabetes", random_state=3)
    train, held_out = data.train_rows.inputs.double(), data.eval_rows.inputs.double()
    assert (len(train), len(held_out)) == (221, 221)
    torch.testing.assert_close(train.mean(0), torch.zeros(10).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.ones(10).double(), atol=1e-6, rtol=0)
    assert held_out.mean(0).abs().max() > 1e-3  # not scaled by its own statistics
    assert np.array_equal(np.sort(all_rows(data)[1]), np.sort(target.astype(np.float32)))
    assert not np.array_equal(all_rows(data)[1], target.astype(np.float32))
    correlations = [np.corrcoef(a[0].T, a[1])[-1] for a in ((inputs, target), all_rows(data))]
    assert np.allclose(correlations[0][:-1] - correlations[1][:-1], 0, atol=0.1)  # inputs stay with their targets


def test_random_state_decides_the_diabetes_split():
    """`random_state` sets the split, and the global seed does not."""
    seed_everything(0)
    first = all_rows(ready("diabetes"))[1]
    seed_everything(1)
    assert np.array_equal(first, all_rows(ready("diabetes"))[1])
    assert not np.array_equal(first, all_rows(ready("diabetes", random_state=2))[1])


@pytest.mark.parametrize("source", ["synthetic", "diabetes"])
def test_standardized_targets_use_training_statistics(source):
    """Both halves are standardized by the mean and standard deviation of the training half."""
    raw, data = ready(source), ready(source, standardize_target=True)
    assert (raw.target_mean, raw.target_std) == (0.0, 1.0)
    train, held_out = data.train_rows.targets, data.eval_rows.targets
    torch.testing.assert_close(train.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.std(correction=0), torch.tensor(1.0))
    torch.testing.assert_close(
        held_out * data.target_std + data.target_mean, raw.eval_rows.targets, rtol=1e-4, atol=1e-3
    )


def test_setup_for_a_second_stage_keeps_the_rows():
    """A second `setup` does not generate the data again."""
    data = ready()
    rows = data.train_rows
    data.setup("test")
    assert data.train_rows is rows


def test_it_can_be_sent_to_another_process():
    """It can be pickled before and after `setup`, and so can its loaders."""
    early = pickle.loads(pickle.dumps(RegressionDataModule(n_samples=10)))
    early.setup("fit")
    late = pickle.loads(pickle.dumps(early))
    assert torch.equal(late.train_rows.inputs, early.train_rows.inputs)
    assert len(next(iter(pickle.loads(pickle.dumps(late.train_dataloader()))))[0]) == 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning calls what jsonargparse deprecates
def test_the_command_line_makes_it(monkeypatch):
    """The command line builds it from plain values."""
    arguments = ["--data=lightning_clip.RegressionDataModule", "--data.source=diabetes", "--data.batch_size=8"]
    monkeypatch.setattr(sys, "argv", ["program", "--model=lightning_clip.MLPRegressor", *arguments])
    made = LightningCLI(run=False, save_config_callback=None, seed_everything_default=0).datamodule
    assert (made.source, made.batch_size, made.in_features) == ("diabetes", 8, 10)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"source": "iris"},
            ValueError,
            r"RegressionDataModule\(source='iris'\): source must be one of 'synthetic', 'diab",
        ),
        ({"n_samples": 1}, ValueError, r"RegressionDataModule\(n_samples=1\): n_samples must be at least 2\."),
        ({"n_samples": 10.0}, TypeError, r"n_samples=10\.0\): n_samples must be a whole number"),
        ({"n_features": 0, "n_informative": 0}, ValueError, "n_features must be at least 1"),
        ({"n_features": 5}, ValueError, r"n_features=5, n_informative=10\): n_informative must be at most n_features"),
        ({"noise": -0.1}, ValueError, r"noise=-0\.1\): noise must be a number of at least 0"),
        ({"noise": float("nan")}, ValueError, "noise must be a number of at least 0"),
        ({"random_state": -1}, ValueError, "random_state must be at least 0"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"batch_size": True}, TypeError, "batch_size must be a whole number"),
    ],
)
def test_bad_arguments(arguments, error, message):
    """Bad arguments raise an error of one line with the call and the rule."""
    with pytest.raises(error, match=message):
        RegressionDataModule(**arguments)
