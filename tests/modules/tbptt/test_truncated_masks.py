"""`TruncatedBPTTMixin`: chunks that count only some of their targets, or none."""

import pytest
import torch
from torch.utils.data import DataLoader

from tests.support.streaming import Splitting, fit, sequences
from tests.support.training import assert_same_weights

cells = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


class _Masked(Splitting):
    """Counts targets by a mask, and has no loss where it is empty."""

    def tbptt_weight(self, chunk):
        counted = int(chunk["mask"].sum())
        return counted if self.as_numbers else torch.tensor(counted)

    def tbptt_step(self, chunk, hiddens):
        outputs, hiddens = self.rnn(chunk["x"], hiddens)
        if not chunk["mask"].any() and self.as_numbers:
            return None, hiddens
        errors = (self.head(outputs)[..., 0] - chunk["y"][..., 0]).square()
        return errors[chunk["mask"]].sum() / chunk["mask"].sum().clamp(min=1), hiddens


@pytest.mark.parametrize("as_numbers", [True, False])
def test_weights_of_chunks_may_be_masked(as_numbers):
    """A chunk is weighted by its number of targets; a chunk with the Python number 0 makes no step."""
    (inputs, targets), mask = sequences(2, 20), torch.zeros(2, 20, dtype=torch.bool)
    mask[:, 8:12] = mask[0, 17] = True  # targets in chunks of 5 steps: 0, 4, 4 and 1
    model = _Masked(truncated_bptt_steps=5, lr=0.0)
    model.as_numbers, grads = as_numbers, []
    model.on_before_optimizer_step = lambda optimizer: grads.append(model.head.bias.grad.clone())
    batch = {"x": inputs, "y": targets, "mask": mask}
    trainer = fit(model, DataLoader([batch], batch_size=None, collate_fn=lambda batch: batch))
    errors = (model.head(model.rnn(inputs)[0]) - targets)[..., 0].square()
    assert trainer.global_step == len(grads) == (3 if as_numbers else 4)
    torch.testing.assert_close(trainer.callback_metrics["train_loss"], errors[mask].mean().detach())
    sums = [errors[:, part] * mask[:, part] for part in (slice(5, 10), slice(10, 15), slice(15, 20))]
    for grad, chunk in zip(grads[-3:], sums, strict=True):
        torch.testing.assert_close(grad, torch.autograd.grad(chunk.sum() / 4, model.head.bias, retain_graph=True)[0])


def test_a_batch_without_targets_changes_nothing():
    """A batch without targets makes no step and has a loss of 0."""
    inputs, targets = sequences(2, 20)
    model = _Masked(truncated_bptt_steps=5)
    model.as_numbers = True
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch = {"x": inputs, "y": targets, "mask": torch.zeros(2, 20, dtype=torch.bool)}
    trainer = fit(model, DataLoader([batch], batch_size=None, collate_fn=lambda batch: batch))
    assert trainer.global_step == 0
    assert trainer.callback_metrics["train_loss"] == 0
    assert_same_weights(dict(model.state_dict()), before)
