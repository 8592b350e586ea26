import torch

from lightning_clip.functional.elementwise import element_coef_

INF, NAN = float("inf"), float("nan")


def test_the_factor_brings_an_element_to_its_limit():
    """It is `limit / magnitude` above the limit, never below `min_scale`, and 1 where the quotient is undefined."""
    limit = torch.tensor([1.0, 1.0, 1.0, 0.0, INF, 1.0])
    magnitude = torch.tensor([4.0, 0.5, 100.0, 0.0, INF, NAN])
    assert element_coef_(limit, magnitude, min_scale=0.1) is limit
    torch.testing.assert_close(limit, torch.tensor([0.25, 1.0, 0.1, 1.0, 1.0, 1.0]))
