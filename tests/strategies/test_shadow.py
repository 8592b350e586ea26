import pytest
import torch
from torch import nn

from lightning_clip import Gradients, NoClip, NormClip, PerParameterNormClip, Shadow, SkipSpikes, ValueClip, clip_
from lightning_clip.core import StepBuffer, StepRecord
from tests.support.scripted import feed, parameters, scripted_steps, scripted_weights


def gradients(scale: float = 1.0) -> Gradients:
    params = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    for param, grad in zip(params, ([3.0, 0.0], [4.0]), strict=True):
        param.grad = scale * torch.tensor(grad)
    return Gradients(["a", "b"], params)


def record_of(grads: Gradients, strategy: Shadow) -> StepRecord:
    buffer = StepBuffer()
    buffer.add(clip_(grads, strategy))
    return buffer.flush()[0]


def test_the_active_strategy_acts_as_if_it_were_alone():
    """Watching others changes neither gradients nor label, bit for bit."""
    shadow = Shadow(NormClip(0.5), watched=[NormClip(0.1), ValueClip(0.01), SkipSpikes()])
    ours, alone = parameters(scripted_weights()), parameters(scripted_weights())
    for grads in scripted_steps(50):
        feed(shadow, ours, grads)
        feed(NormClip(0.5), alone, grads)
        assert all(torch.equal(ours[name].grad, alone[name].grad) for name in grads)
    assert shadow.label == "NormClip(0.5)"


def test_every_watched_factor_is_recorded_under_its_label():
    """The factors on the total norm of a scale, a scale per tensor and a clamp match a computation by hand."""
    watched = [NormClip(1.0, eps=0.0), PerParameterNormClip(1.0), ValueClip(3.5), NoClip()]
    record = record_of(gradients(), Shadow(NormClip(10.0), watched=watched))
    assert record.watched == {
        "NormClip(1.0, eps=0.0)": pytest.approx(1 / 5),
        "PerParameterNormClip(1.0)": pytest.approx(2**0.5 / 5),
        "ValueClip(3.5)": pytest.approx((3.0**2 + 3.5**2) ** 0.5 / 5),
        "NoClip()": 1.0,
    }
    assert record.clip_coef == 1.0


def test_a_watched_skip_counts_as_zero_and_takes_nothing_away():
    """The gradients stay unchanged, and the factor is 0."""
    shadow = Shadow(watched=[SkipSpikes(window=4, max_fraction=1.0)])
    for _ in range(4):
        assert record_of(gradients(), shadow).watched == {"SkipSpikes(6.0, window=4, max_fraction=1.0)": 1.0}
    spike = gradients(100.0)
    record = record_of(spike, shadow)
    assert record.watched == {"SkipSpikes(6.0, window=4, max_fraction=1.0)": 0.0}
    assert not record.skipped
    assert all(param.grad is not None for param in spike.params)


def test_watched_strategies_learn():
    """Their histories advance with every step and are saved."""
    shadow = Shadow(watched=[SkipSpikes()])
    for _ in range(3):
        clip_(gradients(), shadow)
    assert int(shadow.state_dict()["asked.0.norms.count"]) == 3


@pytest.mark.parametrize("scale", [0.0, float("nan")])
def test_where_nothing_can_be_said_the_factor_is_one(scale):
    """This holds for a norm that is zero, NaN or infinite."""
    record = record_of(gradients(scale), Shadow(watched=[NormClip(1.0), ValueClip(1.0)]))
    assert set(record.watched.values()) == {1.0}


def test_shadows_nest():
    """What the active strategy watches itself is kept."""
    inner = Shadow(NormClip(2.0), watched=[NormClip(1.0)])
    assert set(record_of(gradients(), Shadow(inner, watched=[NoClip()])).watched) == {"NormClip(1.0)", "NoClip()"}


def test_it_works_on_the_meta_device():
    """Several strategies read the device no more than one does."""
    grads = gradients()
    params = [nn.Parameter(param.to("meta")) for param in grads.params]
    for param in params:
        param.grad = torch.empty_like(param)
    strategy = Shadow(NormClip(), watched=[PerParameterNormClip(), ValueClip(), SkipSpikes(), NoClip()])
    event = clip_(Gradients(["a", "b"], params), strategy)
    assert {factor.device.type for factor in event.watched.values()} == {"meta"}


def test_members_must_be_strategies():
    """The error names the argument."""
    with pytest.raises(TypeError, match=r"Shadow\(active=1.0\): active must be a ClipStrategy"):
        Shadow(1.0)
    with pytest.raises(
        TypeError, match=r"Shadow\(watched=\['NormClip'\]\): each must be a ClipStrategy, not 'NormClip'"
    ):
        Shadow(watched=["NormClip"])
