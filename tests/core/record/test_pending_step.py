import pytest
import torch

from lightning_clip.core import PendingStep


def pending() -> PendingStep:
    norms = torch.tensor([3.0, 4.0])
    return PendingStep(0, 0, "Some()", ("a", "b"), norms.norm(), norms, torch.tensor(1.0))


def test_a_note_fills_in_what_is_known_later():
    """Gate norms, loss and the skip are stored in their fields."""
    step, gates, skipped = pending(), {"a": torch.tensor([1.0, 2.0, 3.0])}, torch.tensor(True)
    step.note(gate_norms=gates, loss=torch.tensor(0.5), skipped=skipped)
    assert step.gate_norms is gates
    assert float(step.loss) == 0.5
    assert step.skipped is skipped


def test_a_note_leaves_what_it_does_not_name():
    """Each argument that is left at `None` keeps its field, and `False` is a value."""
    step = pending()
    step.note(loss=torch.tensor(0.5))
    step.note(gate_norms={"a": torch.ones(3)})
    assert (float(step.loss), step.skipped, list(step.gate_norms)) == (0.5, False, ["a"])
    step.note(skipped=True)
    step.note(loss=torch.tensor(0.25))
    assert (float(step.loss), step.skipped, list(step.gate_norms)) == (0.25, True, ["a"])
    step.note(skipped=False)
    assert step.skipped is False


def test_the_loss_is_kept_without_its_graph():
    """A pending step does not keep the graph of a batch alive."""
    step, weight = pending(), torch.ones((), requires_grad=True)
    step.note(loss=2 * weight)
    assert not step.loss.requires_grad
    assert step.loss.grad_fn is None


@pytest.mark.parametrize("loss", [torch.ones(4), torch.ones(0), torch.ones(2, 2), torch.ones((), dtype=torch.cfloat)])
def test_a_loss_that_is_not_one_number_is_unknown(loss):
    """What manual optimization calls a loss may be anything; only one real number is recorded."""
    step = pending()
    step.note(loss=loss)
    assert step.loss is None


def test_a_loss_of_any_shape_is_a_number():
    """One element is a loss, whatever its dimensions."""
    step = pending()
    step.note(loss=torch.full((1, 1), 0.5))
    assert step.loss.shape == ()
    assert float(step.loss) == 0.5
