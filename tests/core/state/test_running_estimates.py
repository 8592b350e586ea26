import io

import pytest
import torch
from torch import Tensor

from lightning_clip.core.state import RunningEstimates

YES, NO = torch.tensor(True), torch.tensor(False)


class Levels(RunningEstimates):
    """The median of the first values plus each later one, and the latest value."""

    total: Tensor

    def __init__(self, warmup_steps: int) -> None:
        super().__init__(warmup_steps, total=0.0, latest=torch.inf)

    def initial(self):
        return self.first.quantile(0.5), torch.tensor(torch.inf)

    def updated(self, value):
        return self.total + value, value


def push(levels: Levels, *values: float, keep: Tensor = YES, dtype: torch.dtype = torch.float64) -> None:
    for value in values:
        tensor = torch.tensor(value, dtype=dtype)
        levels.push(tensor, keep, levels.read(tensor)[-1])


def read(levels: Levels) -> list[float]:
    return [float(number) for number in levels.read(torch.tensor(1.0, dtype=torch.float64))]


def test_estimates_start_from_the_first_values_and_follow_later_ones():
    """They are provisional during the warmup, and `read` says so."""
    levels = Levels(3)
    assert read(levels) == [0.0, torch.inf, False]
    push(levels, 1.0, 9.0)
    assert read(levels)[-1] == 0.0
    push(levels, 2.0)
    assert read(levels) == [2.0, torch.inf, True]
    push(levels, 5.0, 6.0)
    assert read(levels) == [13.0, 6.0, True]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 5.0])
def test_what_is_not_to_be_kept_changes_nothing(bad):
    """The estimates stay the same during the warmup and after it."""
    levels, other = Levels(2), Levels(2)
    for value in (1.0, 2.0, 3.0):
        push(levels, bad, keep=NO)
        push(levels, value)
        push(other, value)
    push(levels, bad, keep=NO)
    assert read(levels) == read(other) == [4.0, 3.0, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_they_keep_the_dtype_of_the_first_value_through_a_checkpoint(dtype):
    """Restored estimates are the same bit for bit and continue the same way."""
    levels, restored = Levels(2), Levels(2)
    push(levels, 0.1, 0.7, 0.3, dtype=dtype)
    file = io.BytesIO()
    torch.save(levels.state_dict(), file)
    file.seek(0)
    restored.load_state_dict(torch.load(file, weights_only=True))
    for each in (levels, restored):
        push(each, 0.9, dtype=dtype)
    assert restored.total.dtype == dtype
    assert torch.equal(restored.total, levels.total)


def test_they_follow_their_values_to_their_device():
    """The buffers move with the first value on another device."""
    levels = Levels(2)
    push(levels, 1.0)
    assert {number.device.type for number in levels.read(torch.tensor(1.0, device="meta"))} == {"meta"}
