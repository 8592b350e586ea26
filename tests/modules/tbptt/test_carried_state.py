"""`CarriedState`: which state belongs to which chunk."""

import pytest
import torch

from lightning_clip.modules.tbptt.carried_state import CarriedState

CPU = torch.device("cpu")


def kept(streams=(0, 1, 2), end=8):
    state = CarriedState(1)
    hiddens = (torch.arange(6.0).reshape(1, 3, 2), torch.arange(6.0).reshape(1, 3, 2) + 10)
    state.recall(streams, 0, None, CPU)
    state.keep(streams, end, hiddens, torch.float32)
    return state, hiddens


def test_a_state_is_for_the_step_that_comes_next():
    """The same streams get the same tensors at the next step."""
    state, hiddens = kept()
    for ours, theirs in zip(state.recall((0, 1, 2), 8, None, CPU), hiddens, strict=True):
        assert torch.equal(ours, theirs)


def test_rows_are_found_by_their_stream():
    """Rows are selected by stream, in any order and number."""
    state, (hidden, _) = kept((4, 7, 9))
    assert torch.equal(state.recall((9, 4), 8, None, CPU)[0], hidden[:, [2, 0]])


@pytest.mark.parametrize("initial", [None, "initial"])
def test_step_0_begins_afresh(initial):
    """Step 0 always gets the initial state."""
    assert kept()[0].recall((0, 1, 2), 0, initial, CPU) == initial


def test_without_counting_the_last_state_is_taken():
    """Without a start step, the last state is returned, or the initial one if there is none."""
    state = CarriedState(1)
    assert state.recall((0,), None, "initial", CPU) == "initial"
    state.keep((0,), None, torch.ones(1, 1, 2), torch.float32)
    assert state.recall((0,), None, None, CPU).sum() == 2
    state.forget()
    assert state.recall((0,), None, None, CPU) is None


def test_the_last_chunk_can_be_run_again_but_not_the_one_before():
    """The last chunk can run again any number of times; running an earlier one raises an error."""
    state, hiddens = kept()
    state.recall((0, 1, 2), 8, None, CPU)
    state.keep((0, 1, 2), 16, hiddens, torch.float32)
    for _ in range(3):
        state.recall((0, 1, 2), 8, None, CPU)
        state.keep((0, 1, 2), 16, hiddens, torch.float32)
    state.recall((0, 1, 2), 16, None, CPU)
    state.keep((0, 1, 2), 24, hiddens, torch.float32)
    with pytest.raises(RuntimeError, match="starts at step 8 of its streams, but the carried state is that of step 24"):
        state.recall((0, 1, 2), 8, None, CPU)


def test_states_are_kept_without_graph_in_one_dtype():
    """Floating point states are detached and converted to one dtype; integers keep theirs."""
    state, count = CarriedState(1), torch.ones(1, 1, 1, dtype=torch.int64)
    state.keep((0,), 1, (torch.ones(1, 1, 1, dtype=torch.bfloat16, requires_grad=True) * 2, count), torch.float32)
    hidden, number = state.recall((0,), 1, None, CPU)
    assert (hidden.dtype, number.dtype) == (torch.float32, torch.int64)
    assert not hidden.requires_grad


def test_it_is_saved_in_plain_types(tmp_path):
    """The state loads with `weights_only`; resuming at a different step warns and starts fresh."""
    state, hiddens = kept((4, 7, 9))
    torch.save(state.state_dict(), tmp_path / "state.pt")
    again = CarriedState(1)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for ours, theirs in zip(again.recall((4, 7, 9), 8, None, CPU), hiddens, strict=True):
        assert torch.equal(ours, theirs)
    again.load_state_dict(state.state_dict())
    with pytest.warns(UserWarning, match="resumes at step 16 of the streams, .* the state of step 8"):
        assert again.recall((4, 7, 9), 16, "initial", CPU) == "initial"


def test_what_is_saved_does_not_change_any_more():
    """The saved state is a copy."""
    state, (hidden, _) = kept()
    saved = state.state_dict()
    hidden.zero_()
    assert saved["hiddens"][0].any()


def test_nothing_to_save():
    """Before the first chunk, the saved state is `None`."""
    assert CarriedState(1).state_dict() is None
    state, _ = kept()
    state.load_state_dict(None)
    assert state.state_dict() is None


@pytest.mark.parametrize("initial", [None, 7.0])
def test_rows_with_nan_are_reset(initial):
    """Such rows get the initial state, zeros by default; the others and the position stay."""
    state, (hidden, cell) = kept()
    hidden[0, 1, 0] = torch.nan
    state.initial = None if initial is None else (torch.full_like(hidden, initial), torch.full_like(cell, initial))
    expected = cell.clone()
    expected[0, 1] = initial or 0.0
    state.reset(non_finite_only=True)
    ours = state.recall((0, 1, 2), 8, None, CPU)
    assert ours[0][0, 1].tolist() == [initial or 0.0] * 2
    assert torch.equal(ours[1], expected)
    state.reset(non_finite_only=False)
    assert state.recall((0, 1, 2), 8, None, CPU)[1].unique().tolist() == [initial or 0.0]


def test_a_reset_without_a_state_does_nothing():
    """Before the first chunk there is nothing to reset."""
    state = CarriedState(1)
    state.reset(non_finite_only=False)
    assert state.state_dict() is None
