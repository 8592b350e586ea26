import numpy as np
import pytest
import torch
from torch import nn

from lightning_clip.functional import combine_norms, tensor_norms, total_norm, unit_norms
from lightning_clip.functional.norms import local_values

P = pytest.mark.parametrize("p", [1.0, 2.0, 3.0, float("inf")])
SHAPES = [(4,), (3, 5), (), (2, 3, 2, 2)]


def random(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64).to(dtype)


def norm_of(*tensors: torch.Tensor, p: float = 2.0) -> float:
    """The norm in float64, element by element."""
    elements = np.abs(np.concatenate([t.to_dense().reshape(-1).resolve_conj().cdouble().numpy() for t in tensors]))
    if elements.size == 0:
        return 0.0
    return float(elements.max() if np.isinf(p) else (elements**p).sum() ** (1 / p))


@P
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_norms_are_those_of_the_definition(p, dtype):
    """Tensor norms and the total norm match the definition, in float32 or better."""
    tensors = [random(shape, dtype) for shape in SHAPES]
    norms = tensor_norms(tensors, p)
    assert norms.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    np.testing.assert_allclose(norms, [norm_of(t, p=p) for t in tensors], rtol=1e-6)
    for total in (total_norm(tensors, p), combine_norms(norms, p)):
        assert total.shape == ()
        np.testing.assert_allclose(total, norm_of(*tensors, p=p), rtol=1e-6)


def test_tensors_of_several_dtypes_are_measured_together():
    """The result has the widest of the dtypes; half precision is accumulated in float32."""
    tensors = [torch.full((1000,), 3000.0, dtype=torch.float16), torch.ones(3), torch.ones(3, dtype=torch.float64)]
    norms = tensor_norms(tensors)
    assert norms.dtype == torch.float64
    np.testing.assert_allclose(norms, [norm_of(t) for t in tensors], rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_neither_overflows_nor_loses_digits(dtype):
    """1,000 elements of 3,000 have a norm of 94,868, beyond float16; 10,000 ones have a norm of 100."""
    norms = tensor_norms([torch.full((1000,), 3000.0, dtype=dtype), torch.ones(10_000, dtype=dtype)])
    np.testing.assert_allclose(norms, [94_868.33, 100.0], rtol=3e-3 if dtype == torch.bfloat16 else 1e-6)
    assert float(norms[1]) == 100.0


def test_a_wider_type_can_be_asked_for():
    """Squares of 1e27 overflow float32 but not float64."""
    tensors = [torch.full((4,), 1e27)]
    assert tensor_norms(tensors).isinf().all()
    np.testing.assert_allclose(tensor_norms(tensors, dtype=torch.float64), [2e27], rtol=1e-6)
    np.testing.assert_allclose(unit_norms(tensors[0], (0,), dtype=torch.float64), [2e27], rtol=1e-6)


@P
def test_empty_tensors_and_no_tensors_have_norm_zero(p):
    """This holds beside other tensors, alone, for sparse tensors, and for the inf-norm, where torch raises."""
    assert tensor_norms([torch.zeros(0, 3), torch.tensor([-2.0])], p).tolist() == [0.0, 2.0]
    assert float(total_norm([torch.zeros(0)], p)) == 0.0
    assert float(total_norm([torch.zeros(4, 2).to_sparse()], p)) == 0.0
    assert tensor_norms([], p).shape == (0,)
    assert float(total_norm([], p)) == 0.0
    assert float(combine_norms(torch.zeros(0), p)) == 0.0


@P
def test_repeated_indices_of_a_sparse_gradient_are_summed_first(p):
    """The norm is that of the dense gradient, not of the uncoalesced values."""
    embedding = nn.Embedding(6, 3, sparse=True)
    embedding(torch.tensor([1, 4, 1, 1])).square().sum().backward()
    grad = embedding.weight.grad
    assert not grad.is_coalesced()
    np.testing.assert_allclose(
        tensor_norms([grad, torch.ones(2)], p), [norm_of(grad, p=p), norm_of(torch.ones(2), p=p)], rtol=1e-6
    )


def test_complex_gradients_count_by_their_absolute_values():
    """The norm of 3 + 4i is 5, a real number."""
    value = torch.tensor([[3 + 4j, 0], [0, 12j]])
    assert tensor_norms([value]).tolist() == [13.0]
    assert tensor_norms([value], dtype=torch.float64).dtype == torch.float64
    assert unit_norms(value, (1,)).tolist() == [[5.0], [12.0]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@P
def test_a_norm_is_finite_where_the_gradient_is(bad, p):
    """A bad element affects the norm of its tensor and the total, and no other norm."""
    tensors = [torch.tensor([1.0, bad]), torch.ones(2)]
    assert tensor_norms(tensors, p).isfinite().tolist() == [False, True]
    assert not total_norm(tensors, p).isfinite()


@pytest.mark.parametrize(
    ("shape", "dims", "kept"),
    [
        ((4, 3), (1,), (4, 1)),
        ((4, 3), (0,), (1, 3)),
        ((4, 3, 2, 2), (1, 2, 3), (4, 1, 1, 1)),
        ((4, 3, 2, 2), (0, 2, 3), (1, 3, 1, 1)),
        ((4, 3), (), (1, 1)),
        ((4,), (), (1,)),
        ((), (), ()),
        ((0, 3), (1,), (0, 1)),
        ((3, 0), (1,), (3, 1)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_unit_norms_reduce_the_dimensions_of_a_unit(shape, dims, kept, dtype):
    """The norms broadcast to the tensor, in float32 or better; without dimensions, the whole tensor is a unit."""
    tensor = random(shape, dtype)
    norms = unit_norms(tensor, dims)
    assert norms.shape == kept
    assert norms.dtype == torch.float32
    squares = np.square(tensor.double().numpy())
    expected = np.sqrt(squares.sum(axis=dims or tuple(range(len(shape))), keepdims=True))
    np.testing.assert_allclose(norms, expected, rtol=1e-6)


def test_local_values_share_the_memory_of_the_gradient():
    """Changing the local values changes the gradient, dense or sparse."""
    dense = torch.ones(2)
    assert local_values(dense) is dense
    sparse = torch.tensor([1.0, 0.0, 1.0, 0.0]).to_sparse()
    local_values(sparse).mul_(3)
    assert sparse.to_dense().tolist() == [3.0, 0.0, 3.0, 0.0]


def test_nothing_reads_the_device():
    """All functions run on the meta device, where a host read raises."""
    tensors = [torch.ones(3, 2, device="meta"), torch.ones(0, device="meta")]
    assert total_norm(tensors).shape == ()
    assert tensor_norms(tensors, float("inf")).shape == (2,)
    assert unit_norms(tensors[0], (1,)).shape == (3, 1)
