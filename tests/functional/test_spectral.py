"""Singular values and spectral radii, compared with `torch.linalg`."""

import math

import pytest
import torch

from lightning_clip.functional import largest_singular_value, spectral_radius

NAN, INF = float("nan"), float("inf")


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / shape[-1] ** 0.5


def orthogonal(size: int) -> torch.Tensor:
    return torch.linalg.qr(gaussian(size, size))[0]


def rotations(size: int) -> torch.Tensor:
    """Non-symmetric, non-normal matrices whose dominant eigenvalues are a complex pair of absolute value 1.5."""
    core = torch.diag(torch.linspace(0.1, 1.0, size, dtype=torch.float64))
    core[:2, :2] = torch.tensor([[0.0, -1.5], [1.5, 0.0]])
    basis = torch.eye(size, dtype=torch.float64) + 0.3 * gaussian(size, size)
    return basis @ core @ torch.linalg.inv(basis)


SQUARE = {
    "gaussian": gaussian(40, 40),
    "orthogonal": orthogonal(40),
    "identity": torch.eye(40, dtype=torch.float64),
    "complex pair": rotations(40),
    "one direction": gaussian(40, 40) + 3 * gaussian(40, 1, seed=1) @ gaussian(1, 40, seed=2),
    "nilpotent": torch.diag(torch.ones(39, dtype=torch.float64), 1),
    "zero": torch.zeros(40, 40, dtype=torch.float64),
    "one by one": torch.tensor([[-2.5]], dtype=torch.float64),
    "huge": 1e200 * gaussian(40, 40),
    "tiny": 1e-200 * gaussian(40, 40),
}
of_each = pytest.mark.parametrize("matrix", SQUARE.values(), ids=SQUARE.keys())


@of_each
def test_the_singular_value_is_that_of_the_decomposition_and_never_above(matrix):
    """This also holds where squares leave the range of the dtype."""
    values, vectors = largest_singular_value(matrix, iterations=300)
    expected = torch.linalg.svdvals(matrix).amax()
    torch.testing.assert_close(values, expected, rtol=1e-3, atol=0.0)
    assert float(values) <= float(expected) * (1 + 1e-12)
    assert float(torch.linalg.vector_norm(vectors)) == pytest.approx(1.0)


@of_each
def test_small_matrices_have_the_radius_of_their_eigenvalues(matrix):
    """Complex eigenvalue pairs count too."""
    torch.testing.assert_close(spectral_radius(matrix), torch.linalg.eigvals(matrix).abs().amax(), rtol=1e-9, atol=0.0)


@of_each
def test_squaring_is_never_below_and_hardly_above_the_radius(matrix):
    """The excess is as documented for orthogonal eigenvectors, and within 1% for the other matrices here."""
    expected = float(torch.linalg.eigvals(matrix).abs().amax())
    found = float(spectral_radius(matrix, exact_up_to=0))
    normal = torch.allclose(matrix @ matrix.mT, matrix.mT @ matrix, rtol=1e-9, atol=0.0)
    excess = len(matrix) ** (1 / 2048) if normal else 1.01
    assert expected * (1 - 1e-9) <= found <= expected * excess * (1 + 1e-9)


def test_more_squarings_come_closer():
    """The excess is a power of 1 / 2^squarings."""
    excess = [float(spectral_radius(orthogonal(60), exact_up_to=0, squarings=m)) - 1 for m in (4, 7, 10)]
    assert excess == pytest.approx([60 ** (1 / 2 ** (m + 1)) - 1 for m in (4, 7, 10)], rel=1e-6)


def test_the_choice_is_by_size():
    """Matrices up to the limit use eigenvalues; larger ones use the bound."""
    matrix = orthogonal(30)
    assert float(spectral_radius(matrix, exact_up_to=30)) == pytest.approx(1.0, rel=1e-12)
    assert float(spectral_radius(matrix, exact_up_to=29)) == pytest.approx(30 ** (1 / 2048), rel=1e-9)


@pytest.mark.parametrize("exact_up_to", [0, 256])
def test_blocks_are_computed_at_once(exact_up_to):
    """A batch gives the same values as each matrix alone."""
    blocks = torch.stack([gaussian(12, 12, seed=seed) for seed in range(4)])
    values, vectors = largest_singular_value(blocks)
    assert vectors.shape == (4, 12)
    for block, value in zip(blocks, values, strict=True):
        torch.testing.assert_close(largest_singular_value(block)[0], value)
    together = spectral_radius(blocks, exact_up_to=exact_up_to)
    alone = torch.stack([spectral_radius(block, exact_up_to=exact_up_to) for block in blocks])
    torch.testing.assert_close(together, alone)


def test_a_matrix_need_not_be_square():
    """The vectors have the length of the rows."""
    for shape in ((5, 9), (9, 5)):
        values, vectors = largest_singular_value(gaussian(*shape))
        torch.testing.assert_close(values, torch.linalg.svdvals(gaussian(*shape)).amax(), rtol=1e-6, atol=0.0)
        assert vectors.shape == (shape[1],)


def test_few_iterations_follow_a_matrix_that_changes():
    """Four iterations from the last vector are within 1%; from the fixed vector they are not."""
    weight, step = gaussian(128, 128), gaussian(128, 128, seed=1)
    _, vectors = largest_singular_value(weight)
    for _ in range(20):
        weight = weight + 0.02 * step
        values, vectors = largest_singular_value(weight, vectors)
    expected = float(torch.linalg.svdvals(weight).amax())
    assert expected * 0.99 < float(values) <= expected * (1 + 1e-12)
    first = torch.ones(128, dtype=torch.float64)
    assert float(largest_singular_value(weight, first)[0]) < expected * 0.99


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32(dtype):
    """This also works where a square would overflow float16."""
    weight = (300 * gaussian(16, 16)).to(dtype)
    values, _ = largest_singular_value(weight, iterations=300)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, torch.linalg.svdvals(weight.float()).amax(), rtol=1e-4, atol=0.0)
    expected = torch.linalg.eigvals(weight.float()).abs().amax()
    torch.testing.assert_close(spectral_radius(weight), expected, rtol=1e-5, atol=0.0)
    torch.testing.assert_close(spectral_radius(weight, exact_up_to=0), expected, rtol=5e-3, atol=0.0)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("exact_up_to", [0, 256])
def test_a_matrix_that_is_not_finite_gives_nan_and_the_others_their_values(bad, exact_up_to):
    """Nothing raises, and the value is finite again once the matrix is."""
    good = gaussian(6, 6)
    both = torch.stack([good, good])
    both[0, 1, 2] = bad
    values, vectors = largest_singular_value(both)
    radii = spectral_radius(both, exact_up_to=exact_up_to)
    for found in (values, radii):
        assert math.isnan(found[0])
    torch.testing.assert_close(values[1], torch.linalg.svdvals(good).amax(), rtol=1e-3, atol=0.0)
    torch.testing.assert_close(radii[1], spectral_radius(good, exact_up_to=exact_up_to))
    again, _ = largest_singular_value(torch.stack([good, good]), vectors)
    assert again.isfinite().all()


def test_no_gradient_and_no_random_number_is_asked_for():
    """The autograd graph and the random generator of the training stay untouched."""
    weight = gaussian(8, 8).requires_grad_()
    before = torch.get_rng_state()
    values, vectors = largest_singular_value(weight)
    assert not any(result.requires_grad for result in (values, vectors, spectral_radius(weight)))
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_reads_the_device():
    """Both functions run on the meta device, where a host read raises."""
    blocks = torch.ones(4, 8, 8, device="meta")
    values, vectors = largest_singular_value(blocks)
    assert largest_singular_value(blocks, vectors)[0].shape == values.shape == spectral_radius(blocks).shape == (4,)
