"""`WeightedMean`: the mean over all targets, from partial sums."""

import torch

from lightning_clip.modules.weighted_mean import WeightedMean
from tests.support.ranks import on_two_ranks


def test_it_is_the_mean_over_all_targets():
    """Parts of different sizes give the mean over all targets, not the mean of means."""
    values, mean = torch.randn(100), WeightedMean()
    for part in values.split([60, 39, 1]):
        mean.update(part.sum(), len(part))
    torch.testing.assert_close(mean.compute(), values.mean())


def test_values_that_are_not_finite_stay():
    """A single NaN makes the mean NaN."""
    mean = WeightedMean()
    mean.update(torch.tensor(1.0), torch.tensor(3))
    mean.update(torch.tensor(float("nan")), 1)
    assert mean.compute().isnan()


def test_it_keeps_no_graph():
    """The metric detaches its inputs."""
    mean = WeightedMean()
    mean.update(torch.ones(1, requires_grad=True).sum(), 1)
    assert not mean.total.requires_grad


def test_it_reads_no_device():
    """Updates work on the meta device, where any read raises."""
    mean = WeightedMean().to("meta")
    mean.update(torch.ones((), device="meta"), torch.ones((), device="meta"))


def test_nothing_was_measured():
    """Without targets the mean is 0, also after a reset."""
    mean = WeightedMean()
    mean.update(torch.tensor(4.0), 2)
    mean.reset()
    mean.update(torch.tensor(0.0), 0)
    assert mean.compute() == 0


def test_two_processes_count_together(tmp_path):
    """Two processes are weighted by their numbers of targets."""

    def measured(rank):
        mean = WeightedMean()
        mean.update(torch.tensor([3.0, 9.0][rank]), [1, 3][rank])
        assert mean.compute() == 3.0

    on_two_ranks(measured, tmp_path)
