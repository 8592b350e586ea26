"""`SequentialDigitsDataModule`: every image once, as a sequence of its pixels."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lightning_clip.datamodules import SequentialDigitsDataModule


def ready(**options) -> SequentialDigitsDataModule:
    data = SequentialDigitsDataModule(**options)
    data.setup("fit")
    return data


def test_each_image_is_in_one_split_with_its_digit():
    """Splits have 1,198, 299 and 300 images, with gray values divided by 16, row by row."""
    data = ready()
    parts = (data.train_rows, data.val_rows, data.test_rows)
    assert [tuple(part.inputs.shape) for part in parts] == [(1198, 64, 1), (299, 64, 1), (300, 64, 1)]
    ours = [
        (i.flatten().numpy().tobytes(), int(t))
        for part in parts
        for i, t in zip(part.inputs, part.targets, strict=True)
    ]
    images, digits = load_digits().images, load_digits().target
    expected = [((i / 16).astype(np.float32).tobytes(), int(t)) for i, t in zip(images, digits, strict=True)]
    assert sorted(ours) == sorted(expected)
    assert ours != expected  # not in the order of the file
    for part in parts:
        assert torch.bincount(part.targets, minlength=data.out_features).min() > 0.06 * len(part)


def test_batches():
    """Training batches have `batch_size` images, shuffled by the global seed; evaluation is one batch, in order."""
    data = ready(batch_size=50)
    torch.manual_seed(0)
    sizes, classes = zip(*[(tuple(inputs.shape), targets) for inputs, targets in data.train_dataloader()], strict=True)
    assert set(sizes[:-1]) == {(50, 64, 1)}
    assert classes[0].dtype == torch.int64
    torch.manual_seed(0)
    assert torch.equal(torch.cat([targets for _, targets in data.train_dataloader()]), torch.cat(classes))
    assert not torch.equal(torch.cat([targets for _, targets in data.train_dataloader()]), torch.cat(classes))
    for loader, rows in ((data.val_dataloader(), data.val_rows), (data.test_dataloader(), data.test_rows)):
        ((inputs, targets),) = loader
        assert torch.equal(inputs, rows.inputs)
        assert torch.equal(targets, rows.targets)


def test_random_state_decides_the_split():
    """The same `random_state` gives the same split."""
    first, again, other = (ready(random_state=state).test_rows.inputs for state in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_bad_arguments():
    """Bad arguments raise an error with the call and the rule."""
    with pytest.raises(ValueError, match=r"SequentialDigitsDataModule\(batch_size=0\): batch_size must be at least 1"):
        SequentialDigitsDataModule(batch_size=0)
    with pytest.raises(ValueError, match="random_state must be at least 0"):
        SequentialDigitsDataModule(random_state=-1)
