import torch

from lightning_clip.functional.elementwise import element_coef_, element_coefs_

INF, NAN = float("inf"), float("nan")


def test_the_factor_brings_an_element_to_its_limit():
    """It is `limit / magnitude` above the limit, never below `min_scale`, and 1 where the quotient is undefined."""
    limit = torch.tensor([1.0, 1.0, 1.0, 0.0, INF, 1.0])
    magnitude = torch.tensor([4.0, 0.5, 100.0, 0.0, INF, NAN])
    assert element_coef_(limit, magnitude, min_scale=0.1) is limit
    torch.testing.assert_close(limit, torch.tensor([0.25, 1.0, 0.1, 1.0, 1.0, 1.0]))


def test_several_tensors_get_their_factors_in_place():
    """Each result lives in the memory of its limit."""
    limits = [torch.tensor([1.0, 2.0]), torch.tensor(3.0)]
    factors = element_coefs_(iter(limits), iter([torch.tensor([2.0, 1.0]), torch.tensor(4.0)]))
    assert [factor.tolist() for factor in factors] == [[0.5, 1.0], 0.75]
    assert all(factor is limit for factor, limit in zip(factors, limits, strict=True))
