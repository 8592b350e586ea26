import pytest
import torch

from lightning_clip.core.state import POLICIES, Intake, has_signal, to_store
from tests.support.tensors import holding

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("policy", "value", "keep"),
    [("observed", 50.0, True), ("clipped", 4.0, True), ("winsorized", 8.0, True), ("accepted", 50.0, False)],
)
def test_each_policy_stores_its_own_part_of_a_norm_above_the_threshold(policy, value, keep):
    """Policies store the norm, the threshold, twice the threshold, or nothing."""
    stored, kept = to_store(policy, torch.tensor(50.0), torch.tensor(4.0))
    assert bool(kept) is keep
    assert not keep or float(stored) == value


@pytest.mark.parametrize("policy", POLICIES)
def test_a_norm_within_the_threshold_or_without_one_is_stored_as_it_is(policy):
    """Policies differ only above a threshold."""
    value, keep = to_store(policy, torch.tensor([3.0, 3.0, 4.0]), torch.tensor([4.0, INF, 4.0]))
    assert value.tolist() == [3.0, 3.0, 4.0]
    assert keep.tolist() == [True] * 3


@pytest.mark.parametrize("policy", POLICIES)
def test_a_norm_that_is_not_finite_is_never_stored(policy):
    """This holds for any threshold."""
    _, keep = to_store(policy, torch.tensor([NAN, INF, INF]), torch.tensor([4.0, 4.0, INF]))
    assert keep.tolist() == [False] * 3


def test_the_factor_says_how_far_a_winsorized_norm_may_go():
    """A factor of 3 stores three times the threshold instead of twice."""
    value, _ = to_store("winsorized", torch.tensor(50.0), torch.tensor(4.0), factor=3.0)
    assert float(value) == 12.0


@pytest.mark.parametrize("policy", POLICIES)
def test_an_intake_passes_over_zeros_and_non_finite_norms(policy):
    """It stores the result of `to_store` otherwise."""
    intake, limit = Intake(policy), torch.tensor(4.0)
    kept = [bool(intake.take(torch.tensor(norm), limit)[1]) for norm in (0.0, NAN, INF, 3.0)]
    assert kept == [False, False, False, True]
    assert float(intake.take(torch.tensor(50.0), limit)[0]) == float(to_store(policy, torch.tensor(50.0), limit)[0])


def test_an_intake_accepts_a_norm_that_keeps_being_above():
    """It accepts norms after `max_rejected` in a row, until one is within the threshold; NaN and zero do not count."""
    intake, limit = Intake("accepted", max_rejected=3), torch.tensor(4.0)
    norms = (9.0, NAN, 9.0, 0.0, 9.0, 9.0, 9.0, 1.0, 9.0)
    kept = [bool(intake.take(torch.tensor(norm), limit)[1]) for norm in norms]
    assert kept == [False, False, False, False, False, True, True, True, False]


def test_an_intake_is_restored_in_the_middle_of_a_run_of_rejections():
    """The number of rejections in a row is part of the state."""
    intake, limit = Intake("accepted", max_rejected=3), torch.tensor(4.0)
    for _ in range(3):
        intake.take(torch.tensor(9.0), limit)
    restored = Intake("accepted", max_rejected=3)
    restored.load_state_dict(intake.state_dict())
    assert bool(restored.take(torch.tensor(9.0), limit)[1])
    assert not bool(Intake("accepted", max_rejected=3).take(torch.tensor(9.0), limit)[1])


@pytest.mark.parametrize(("bad", "expected"), [(0.0, [True, False]), (NAN, [False, False]), (INF, [False, False])])
def test_a_norm_has_signal_if_it_is_not_zero_and_the_whole_step_is_finite(bad, expected):
    """A zero only excludes itself; a NaN or infinite gradient excludes the whole step."""
    grads = holding(a=torch.ones(2), b=torch.full((2,), bad))
    assert has_signal(grads, grads.norms()).tolist() == expected
