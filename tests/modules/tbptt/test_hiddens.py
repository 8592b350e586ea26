"""Operations on recurrent states, for every kind of nesting."""

from collections import namedtuple

import pytest
import torch

from lightning_clip.modules.tbptt.hiddens import detach, map_hiddens, reset_rows, scale_gradient, take_rows

Pair = namedtuple("Pair", "h c")


def state(rows=4, *, grad=False):
    """Tensors `(2, rows, 3)`, nested in all supported containers."""
    tensors = [torch.randn(2, rows, 3, requires_grad=grad) * 1 for _ in range(5)]
    return {"a": (tensors[0], [tensors[1], None]), "b": Pair(tensors[2], tensors[3]), "c": tensors[4]}


def tensors_of(hiddens):
    found = []
    map_hiddens(lambda tensor: (found.append(tensor), tensor)[1], hiddens)
    return found


def test_the_structure_stays():
    """Tuples, lists, dictionaries, named tuples and `None` keep their types."""
    result = map_hiddens(torch.neg, state())
    assert list(result) == ["a", "b", "c"]
    assert type(result["a"]) is tuple
    assert type(result["a"][1]) is list
    assert result["a"][1][1] is None
    assert isinstance(result["b"], Pair)


def test_several_states_go_together():
    """A function can combine several states tensor by tensor."""
    first, second = state(), state()
    total = map_hiddens(torch.add, first, second)
    for a, b, c in zip(tensors_of(first), tensors_of(second), tensors_of(total), strict=True):
        assert torch.equal(a + b, c)
    assert map_hiddens(torch.neg, None) is None


def test_something_else_is_refused():
    """Any other type raises an error that names it."""
    with pytest.raises(TypeError, match="tensors in tuples, lists and dictionaries, not of float"):
        map_hiddens(torch.neg, (torch.zeros(1), 1.5))


def test_detached_states_share_their_memory():
    """Detached tensors have no graph and share the memory of the originals."""
    hiddens = state(grad=True)
    for before, after in zip(tensors_of(hiddens), tensors_of(detach(hiddens)), strict=True):
        assert before.grad_fn is not None
        assert after.grad_fn is None
        assert not after.requires_grad
        assert before.data_ptr() == after.data_ptr()


def test_rows_can_be_taken_in_any_order():
    """Rows are selected along the batch dimension, in any order."""
    hiddens = state()
    for before, after in zip(tensors_of(hiddens), tensors_of(take_rows(hiddens, torch.tensor([3, 1]), 1)), strict=True):
        assert torch.equal(after, before[:, [3, 1]])


@pytest.mark.parametrize("initial", [None, 7.0])
def test_rows_can_be_reset(initial):
    """Rows reset to zero or an initial state, even from NaN; others stay unchanged, bit for bit."""
    hiddens, resets = state(), torch.tensor([True, False, False, True])
    hiddens["c"][:, 0] = float("nan")
    fresh = None if initial is None else map_hiddens(lambda tensor: torch.full_like(tensor, initial), hiddens)
    for before, after in zip(tensors_of(hiddens), tensors_of(reset_rows(hiddens, resets, 1, fresh)), strict=True):
        assert torch.equal(after[:, 1:3], before[:, 1:3])
        assert (after[:, [0, 3]] == (initial or 0.0)).all()


def test_rows_of_a_cell_without_layers():
    """The batch dimension can be the first."""
    result = reset_rows(torch.ones(3, 2), torch.tensor([False, True, False]), 0)
    assert result.tolist() == [[1, 1], [0, 0], [1, 1]]


def test_no_gradient_flows_into_a_row_that_is_reset():
    """Reset rows get no gradient; the others do."""
    hiddens = torch.ones(1, 3, 2, requires_grad=True)
    reset_rows(hiddens, torch.tensor([False, True, False]), 1).sum().backward()
    assert hiddens.grad[0].tolist() == [[1, 1], [0, 0], [1, 1]]


def test_a_state_that_is_not_there_stays_so():
    """`None` stays `None`, since all its rows are fresh."""
    assert reset_rows(None, torch.tensor([True]), 1) is None


def test_gradients_can_be_scaled():
    """Gradients are scaled, and values stay the same, even infinite ones."""
    hiddens = (torch.tensor([1.0, float("inf")], requires_grad=True), torch.ones(2, requires_grad=True))
    scaled = scale_gradient(hiddens, 2.5)
    assert torch.equal(scaled[0], hiddens[0])
    (scaled[0].sum() + 3 * scaled[1].sum()).backward()
    assert hiddens[0].grad.tolist() == [2.5, 2.5]
    assert hiddens[1].grad.tolist() == [7.5, 7.5]
