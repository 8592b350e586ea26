import pytest
import torch

from lightning_clip.core.state import PerElement
from tests.support.tensors import holding


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float64, torch.float64),
        (torch.complex64, torch.float32),
        (torch.complex128, torch.float64),
    ],
    ids=str,
)
def test_it_is_real_and_float32_or_better(dtype, kept):
    """This holds for any dtype of the gradient; the values start at zero."""
    (value,) = PerElement().take(holding(w=torch.ones(2, 3, dtype=dtype)))
    assert value.dtype == kept
    assert value.tolist() == [[0.0] * 3] * 2


def test_tensors_are_found_by_name_and_changed_in_place():
    """The order of the gradients may change, and some may be missing."""
    state = PerElement()
    a, b = state.take(holding(a=torch.ones(1), b=torch.ones(2)))
    a.fill_(1.0)
    b.fill_(2.0)
    assert [value.tolist() for value in state.take(holding(b=torch.ones(2), c=torch.ones(1)))] == [[2.0, 2.0], [0.0]]


def test_a_restored_state_is_a_copy():
    """Changes after saving do not reach the checkpoint, nor the other way around."""
    state, other = PerElement(), PerElement()
    (value,) = state.take(holding(a=torch.ones(2)))
    value.fill_(1.0)
    other.load_state_dict(state.state_dict())
    value.fill_(5.0)
    assert other.take(holding(a=torch.ones(2)))[0].tolist() == [1.0, 1.0]


def test_a_parameter_of_another_shape_starts_again():
    """This happens when a checkpoint of whole parameters is loaded into sharded ones."""
    state = PerElement()
    state.take(holding(a=torch.ones(4)))[0].fill_(1.0)
    assert state.take(holding(a=torch.ones(2)))[0].tolist() == [0.0, 0.0]


def test_a_sparse_gradient_is_refused():
    """The error names the parameter and two remedies."""
    sparse = torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (4, 2), check_invariants=True).coalesce()
    with pytest.raises(
        ValueError, match=r"the gradient of 'emb.weight' is sparse: build its layer with sparse=False, or"
    ):
        PerElement().take(holding(emb__weight=sparse))
