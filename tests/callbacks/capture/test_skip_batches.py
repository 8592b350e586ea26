"""`SkipBatches` leaves out the steps of known bad batches."""

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from lightning_clip import GradientMonitor, SkipBatches
from tests.support.bad_sample import BAD, BATCH, Plain, TwoHeads, loader, rows
from tests.support.processes import fit_in_two
from tests.support.training import Net, assert_same_weights, quiet_trainer, weights_of


class Weights(pl.Callback):
    """The weights after each batch."""

    def __init__(self):
        self.after = []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.after.append(weights_of(pl_module))


def fit(skip, module=None, data=None, **options):
    weights, monitor = Weights(), GradientMonitor()
    module = Plain() if module is None else module
    options = {"max_epochs": 1, "limit_val_batches": 0, **options}
    quiet_trainer(callbacks=[skip, monitor, weights], **options).fit(module, loader() if data is None else data)
    same = [n for n in range(1, len(weights.after)) if equal(weights.after[n - 1], weights.after[n])]
    return same, monitor, module


def equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("module", [Plain, TwoHeads], ids=["automatic", "two optimizers"])
def test_a_batch_is_left_out(module):
    """Its steps change no weight; every other step keeps its place."""
    skip = SkipBatches({(0, 5), (1, 2)})
    same, monitor, _ = fit(skip, module(), max_epochs=2)
    assert same == [5, 12]
    steps = 2 if module is TwoHeads else 1
    assert skip.skipped == 2 * steps
    assert monitor.history[-1].step == 20 * steps - 1
    assert {event.kind for event in monitor.history.events} == {"left-out"}


def test_samples_are_found_in_shuffled_data():
    """The batch that contains the sample is left out, wherever it is."""
    same, monitor, _ = fit(SkipBatches(samples={BAD}), data=loader(shuffle=True), max_epochs=3)
    assert len(same) == 3
    assert max(record.norm_before for record in monitor.history if not record.skipped) < 50


def test_the_whole_accumulation_is_left_out():
    """One bad batch of an accumulation is enough."""
    skip = SkipBatches({(0, 4)})
    fit(skip, accumulate_grad_batches=2)
    assert skip.skipped == 1
    assert fit(SkipBatches({(0, 4)}), accumulate_grad_batches=2)[0].count(5) == 1


def test_what_the_batch_left_in_buffers_is_mended():
    """NaN in BatchNorm's statistics is replaced."""
    data = rows()
    data.tensors[0][BAD] = torch.nan
    _, _, module = fit(SkipBatches({(0, BAD // BATCH)}), Plain(norm=True), loader(data))
    assert all(value.isfinite().all() for value in module.state_dict().values())


def test_a_loader_that_does_not_tell_is_one_warning():
    """Samples cannot be found in an iterable dataset."""

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield from rows()

    with pytest.warns(UserWarning, match=r"SkipBatches\(samples=…\) leaves nothing out.*Use SkipBatches") as told:
        fit(SkipBatches(samples={BAD}), data=DataLoader(Stream(), batch_size=BATCH))
    assert len([one for one in told if "SkipBatches" in str(one.message)]) == 1


def test_resuming_equals_not_stopping(tmp_path):
    """The count and the weights after a resume are those of one run."""
    whole, whole_skip = Plain(), SkipBatches({(0, 5), (1, 2)})
    fit(whole_skip, whole, max_epochs=2)
    trainer = quiet_trainer(callbacks=[SkipBatches({(0, 5), (1, 2)})], max_epochs=1, limit_val_batches=0)
    trainer.fit(Plain(), loader())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    resumed, skip = Plain(), SkipBatches({(0, 5), (1, 2)})
    trainer = quiet_trainer(callbacks=[skip], max_epochs=2, limit_val_batches=0)
    trainer.fit(resumed, loader(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert_same_weights(whole, resumed)
    assert skip.skipped == whole_skip.skipped == 2


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_a_sample_of_one_rank_leaves_the_step_out_on_both(tmp_path):
    """Rank 1 has the sample; both ranks leave the step out and stay equal."""
    monitor = GradientMonitor()
    ranks = fit_in_two(Net(), [SkipBatches(samples={3}), monitor], tmp_path)
    assert_same_weights(ranks[0]["weights"], ranks[1]["weights"])
    assert [[record["skipped"] for record in rank["records"]].count(True) for rank in ranks] == [1, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"SkipBatches\(\(\), samples=\(\)\): name the batches or the samples to leave out"),
        ({"batches": {(0, -1)}}, "are counted from 0"),
        ({"batches": [3]}, r"batches are pairs \(epoch, batch\)"),
        ({"batches": 3}, "give a set, such as"),
        ({"samples": {1.5}}, "of whole numbers"),
    ],
    ids=str,
)
def test_bad_arguments(given, message):
    """Each is one line that quotes the call."""
    with pytest.raises(ValueError, match=message):
        SkipBatches(**given)
