import pickle

import pytest
import torch

from lightning_clip.core.state import PerParameter
from tests.support.tensors import holding

ONE = torch.ones(1)


def stored(**values: float) -> PerParameter:
    """A state with one column that holds the given numbers."""
    state = PerParameter(x=0.0)
    grads = holding(**dict.fromkeys(values, ONE))
    state.take(grads)
    state.put(grads, torch.tensor(list(values.values())))
    return state


def taken(state: PerParameter, *names: str) -> list[float]:
    return state.take(holding(**dict.fromkeys(names, ONE)))[0].tolist()


def test_rows_follow_names_through_order_absence_and_arrival():
    """Each parameter finds its own number again, whichever others have a gradient."""
    state = stored(a=1.0, b=2.0)
    assert taken(state, "b", "a") == [2.0, 1.0]
    assert taken(state, "b", "c") == [2.0, 0.0]
    grads = holding(c=ONE, a=ONE)
    state.put(grads, torch.tensor([3.0, 4.0]))
    assert taken(state, "c", "b", "a") == [3.0, 2.0, 4.0]


def test_what_is_taken_is_a_copy():
    """Changing it does not change the state, for either way of finding rows."""
    state = stored(a=1.0, b=2.0)
    for names in (("a", "b"), ("b",)):
        state.take(holding(**dict.fromkeys(names, ONE)))[0].fill_(9.0)
    assert taken(state, "a", "b") == [1.0, 2.0]


def test_no_gradient_at_all_is_a_row_of_none():
    """A step without gradients neither fails nor sets the dtype."""
    state = PerParameter(x=0.0)
    assert taken(state) == []
    state.put(holding(), torch.zeros(0))
    (row,) = state.take(holding(a=torch.ones(1, dtype=torch.float64)))
    assert row.dtype == torch.float64


@pytest.mark.parametrize("duplicate", [lambda s: pickle.loads(pickle.dumps(s)), None], ids=["pickle", "state_dict"])
def test_a_restored_state_knows_the_names(duplicate):
    """This also holds for a state that has looked up other rows before."""
    state = stored(a=1.0, b=2.0)
    if duplicate:
        other = duplicate(state)
    else:
        other = stored(b=7.0, z=8.0)
        taken(other, "z")
        other.load_state_dict(state.state_dict())
    assert taken(other, "b") == [2.0]
    assert taken(other, "b", "a") == [2.0, 1.0]


def test_rows_can_belong_to_something_else_than_a_parameter():
    """`take_rows` and `put_rows` accept any names."""
    state = PerParameter(x=5.0)
    names = ("all parameters",)
    assert state.take_rows(names, ONE)[0].tolist() == [5.0]
    state.put_rows(names, torch.tensor([6.0]))
    assert state.take_rows(names, ONE)[0].tolist() == [6.0]


def test_positions_of_rows_are_looked_up_once():
    """Row positions are cached, because copying a list to an accelerator blocks the host; the cache is bounded."""
    state = stored(**{f"p{i}": float(i) for i in range(80)})
    assert state._rows(("p3", "p1")) is state._rows(("p3", "p1"))
    for i in range(79):
        assert taken(state, f"p{i}", "p79") == [float(i), 79.0]
    assert len(state._found) <= 64
