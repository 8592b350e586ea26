"""`StreamDataModule`: splits, loaders and their chunks."""

import numpy as np
import pytest
import torch

from lightning_clip import ChunkedSequenceDataModule
from lightning_clip.datamodules import NormalLengths


def module(n=1000, **options):
    return ChunkedSequenceDataModule(np.arange(n), **{"truncated_bptt_steps": 8, "batch_size": 4, **options})


def elements(loader):
    return torch.cat([chunk.inputs[chunk.mask] for chunk in loader]).sort().values.tolist()


def test_splits_are_in_order_and_do_not_touch():
    """1,000 elements split into 70%, 20% and 10%, minus one each for the target."""
    data = module(val_fraction=0.2, test_fraction=0.1)
    assert elements(data.train_dataloader()) == list(range(699))
    assert elements(data.val_dataloader()) == list(range(700, 899))
    assert elements(data.test_dataloader()) == elements(data.predict_dataloader()) == list(range(900, 999))


def test_a_split_may_be_missing():
    """A fraction of 0 gives no loader."""
    data = module(val_fraction=0, test_fraction=0)
    assert elements(data.train_dataloader()) == list(range(999))
    assert data.val_dataloader() == data.test_dataloader() == []


def test_evaluation_takes_long_chunks():
    """Evaluation has chunks of at least 256 steps, and at most one stream per step."""
    data = module(20_000, val_fraction=0.4, test_fraction=0.0002)
    chunks = list(data.val_dataloader())
    assert [chunk.inputs.shape for chunk in chunks[:2]] == [(4, 256)] * 2
    assert next(iter(data.test_dataloader())).inputs.shape == (3, 1)
    longer = module(20_000, val_fraction=0.4, truncated_bptt_steps=300)
    assert next(iter(longer.val_dataloader())).inputs.shape == (4, 300)


def test_the_global_seed_decides_random_lengths():
    """The global seed sets random lengths, unless `seed` is given."""
    law, orders = NormalLengths(3.0, min_steps=2), []
    for global_seed, seed in ((1, None), (1, None), (2, None), (1, 5), (2, 5)):
        torch.manual_seed(global_seed)
        loader = module(chunk_lengths=law, seed=seed).train_dataloader()
        orders.append([chunk.start for chunk in loader])
    assert orders[0] == orders[1] != orders[2]
    assert orders[3] == orders[4] != orders[0]


def test_too_few_steps_are_refused():
    """Too few steps raise an error with the numbers of steps and streams."""
    with pytest.raises(ValueError, match=r"batch_size=4\): the train sequence has 3 steps, too few for 4 streams"):
        module(4, val_fraction=0, test_fraction=0).train_dataloader()


def test_its_text_reads_no_loader():
    """`str()` reads no loader, unlike Lightning's."""
    data = module()
    data.part = None
    assert str(data) == "ChunkedSequenceDataModule(truncated_bptt_steps=8, batch_size=4)"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"truncated_bptt_steps": 0}, ValueError, r"Module\(truncated_bptt_steps=0\): .* must be at least 1"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be a whole number"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"val_fraction": -0.1}, ValueError, r"val_fraction=-0\.1, .*both must be at least 0"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, ValueError, "their sum below 1"),
    ],
)
def test_bad_arguments(arguments, error, message):
    """Bad arguments raise an error with the call and the rule."""
    with pytest.raises(error, match=message):
        module(**arguments)
