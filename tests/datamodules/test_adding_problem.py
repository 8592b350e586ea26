"""`AddingProblemDataModule` and `MultiplicationDataModule`: marks, numbers and targets."""

import pytest
import torch

from lightning_clip.datamodules import AddingProblemDataModule, MultiplicationDataModule

TASKS = [(AddingProblemDataModule, lambda a, b: (a + b) / 2), (MultiplicationDataModule, lambda a, b: a * b)]


@pytest.mark.parametrize(("task", "combined"), TASKS)
def test_a_plain_loop_finds_the_target(task, combined):
    """Marks are in the first tenth and in [0.1, 0.5) of the steps, and the target combines the marked numbers."""
    data = task(50, batches_per_epoch=400, batch_size=10, seed=1)
    marked = {}
    for inputs, targets in data.train_dataloader():
        steps = inputs.shape[1]
        for sequence, target in zip(inputs, targets, strict=True):
            assert sequence[:, 0].sum() == 2
            first, second = sequence[:, 0].nonzero().flatten().tolist()
            torch.testing.assert_close(target[0], combined(sequence[first, 1], sequence[second, 1]))
            marked.setdefault(steps, (set(), set()))
            marked[steps][0].add(first)
            marked[steps][1].add(second)
    assert set(marked) == {50, 51, 52, 53, 54}  # below 1.1 times the length
    for steps, (first, second) in marked.items():
        assert first == set(range(int(steps * 0.1)))
        assert second == set(range(int(steps * 0.1), int(steps * 0.1) + int(steps * 0.4)))


def test_numbers_are_uniform():
    """Numbers have mean 1/2 and variance 1/12, all in [0, 1)."""
    ((inputs, _),) = AddingProblemDataModule(100, n_test=500, seed=0).test_dataloader()
    numbers = inputs[:, :, 1].double()
    assert 0 <= numbers.min() < 0.001
    assert 0.999 < numbers.max() < 1
    assert float(numbers.mean()) == pytest.approx(0.5, abs=0.006)
    assert float(numbers.var()) == pytest.approx(1 / 12, abs=0.003)


@pytest.mark.parametrize(("task", "share"), [(AddingProblemDataModule, 0.36), (MultiplicationDataModule, 0.39)])
def test_answering_the_mean_fails_as_often_as_the_docstring_says(task, share):
    """Always predicting the mean is wrong as often as the docstring says."""
    data = task(20, seed=0)
    targets = torch.cat([targets for _, targets in data.test_dataloader()])
    wrong = data.wrong(torch.full_like(targets, float(targets.mean())), targets)
    assert float(wrong.float().mean()) == pytest.approx(share, abs=0.015)
