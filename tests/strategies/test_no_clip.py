import torch

from lightning_clip import Keep, NoClip
from tests.support.tensors import holding, untouched


def test_gradients_stay_as_they_are():
    """For any norm, no memory is written, and the record says that nothing was clipped."""
    for grad in (torch.tensor([1e30, -2.0]), torch.zeros(2), torch.tensor([torch.nan, torch.inf])):
        event = untouched(NoClip(), weight=grad)
        assert float(event.coefs) == 1.0
        assert event.threshold is None


def test_the_decision_is_to_keep():
    """A caller can see that nothing will happen without applying it."""
    assert isinstance(NoClip().decide(holding(weight=torch.ones(2))), Keep)
