"""`TemporalOrderDataModule`: where A and B are, and the class that they make."""

import pytest
import torch

from lightning_clip.datamodules import TemporalOrderDataModule


def symbols_and_classes(length: int, n_bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    data = TemporalOrderDataModule(length, n_bits=n_bits, n_test=5000, seed=1)
    inputs, classes = (torch.cat(parts) for parts in zip(*data.test_dataloader(), strict=True))
    assert torch.equal(inputs.sum(-1), torch.ones(5000, length))  # one symbol a step
    return inputs.argmax(-1), classes


@pytest.mark.parametrize(("n_bits", "tenths"), [(2, (0.1, 0.5)), (3, (0.1, 0.3, 0.6))])
@pytest.mark.parametrize("length", [10, 57, 100])
def test_a_plain_loop_finds_the_class(length, n_bits, tenths):
    """Each sequence has `n_bits` symbols A or B, one per stretch, and the class is their bits in order."""
    symbols, classes = symbols_and_classes(length, n_bits)
    steps_seen = [set() for _ in tenths]
    for sequence, target in zip(symbols.tolist(), classes.tolist(), strict=True):
        steps = [step for step, symbol in enumerate(sequence) if symbol < 2]
        assert len(steps) == n_bits
        assert target == sum(sequence[step] * 2**bit for bit, step in enumerate(steps))
        for seen, step in zip(steps_seen, steps, strict=True):
            seen.add(step)
    for seen, tenth in zip(steps_seen, tenths, strict=True):
        first = int(length * tenth)
        assert seen == set(range(first, first + int(length * 0.1)))  # every step of the stretch, no other


@pytest.mark.parametrize("n_bits", [2, 3])
def test_classes_and_distractors_are_equally_likely(n_bits):
    """Classes and distractors are equally likely, within five standard errors."""
    symbols, classes = symbols_and_classes(50, n_bits)
    for values, choices in ((classes, 2**n_bits), (symbols[symbols > 1] - 2, 4)):
        shares = torch.bincount(values, minlength=choices) / len(values)
        error = (1 / choices * (1 - 1 / choices) / len(values)) ** 0.5
        assert (shares - 1 / choices).abs().max() < 5 * error
