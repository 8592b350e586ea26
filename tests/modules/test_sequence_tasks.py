"""The tasks of recurrent networks: their losses and metrics against plain loops."""

import math

import pytest
import torch

from lightning_clip.modules.sequence_tasks import TASKS


def nats(outputs: torch.Tensor, target: int) -> float:
    return -math.log(math.exp(outputs[target]) / sum(math.exp(score) for score in outputs))


@pytest.mark.parametrize("name", ["classification", "next_token"])
def test_the_loss_is_the_mean_over_sequences_and_steps(name):
    """Cross-entropy is in nats, for one class per sequence and for one at each step."""
    outputs, targets = torch.randn(3, 5, 4), torch.randint(4, (3, 5))
    each = [[nats(o, t) for o, t in zip(*row, strict=True)] for row in zip(outputs, targets.tolist(), strict=True)]
    task = TASKS[name]
    assert float(task.loss(outputs, targets)) == pytest.approx(sum(map(sum, each)) / 15)
    last = [row[-1] for row in each]
    assert float(task.loss(outputs[:, -1], targets[:, -1])) == pytest.approx(sum(last) / 3)


def test_a_sequence_is_wrong_if_any_step_is():
    """One wrong class or an infinite output makes a sequence wrong; the loss is measured at each step."""
    targets = torch.tensor([[0, 1], [0, 1], [0, 1], [0, 1]])
    outputs = 5.0 * torch.nn.functional.one_hot(torch.tensor([[0, 1], [0, 0], [1, 0], [0, 1]]), 3)
    outputs[3, 0, 2] = float("-inf")
    measured = TASKS["classification"].measure(outputs, targets)
    assert measured["error"].tolist() == [False, True, True, True]
    assert measured["loss"].shape == (8,)
    last = TASKS["classification"].measure(outputs[:, 0], targets[:, 0])
    assert last["error"].tolist() == [False, False, True, True]


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_flat_targets_do_not_broadcast(shape):
    """Targets `(batch,)` give the same squared error as `(batch, 1)`."""
    outputs, targets = torch.randn(6, 1), torch.randn(6)
    task = TASKS["regression"]
    squares = [(float(o) - float(t)) ** 2 for o, t in zip(outputs, targets, strict=True)]
    assert float(task.loss(outputs, targets.reshape(shape))) == pytest.approx(sum(squares) / 6)
    measured = task.measure(outputs, targets.reshape(shape))
    assert measured.keys() == {"mse"}
    assert float(measured["mse"].mean()) == pytest.approx(sum(squares) / 6)


def test_bits_are_nats_over_the_logarithm_of_two():
    """Even odds between two symbols cost one bit."""
    measured = TASKS["next_token"].measure(torch.zeros(2, 3, 2), torch.tensor([[0, 1, 1], [1, 0, 1]]))
    torch.testing.assert_close(measured["bits_per_char"], torch.ones(6))


def test_which_tasks_have_a_target_at_every_step():
    """Only `"next_token"` has a target at every step by default."""
    assert {name: task.every_step for name, task in TASKS.items()} == {
        "classification": False,
        "regression": False,
        "next_token": True,
    }
