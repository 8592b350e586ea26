"""Presets that equal the source of a rule, compared with the source's algorithm in a few lines."""

import inspect

import numpy as np
import pytest
import torch
from torch import nn

import lightning_clip as lc
from lightning_clip import Gradients, clip_
from tests.contract.discovered import concrete_strategies
from tests.support.norm_sequences import thresholds_and_coefs, usual
from tests.support.scripted import assert_parity, feed, parameters, scripted_steps, scripted_weights

NONE = {
    "AdaptiveSpectralClip": "the average is ours",
    "GroupEmaClip": "the source's level starts at zero and its code is not public",
    "GroupNormClip": "the source limits updates",
    "QuantileClip": "the source has many norms per step",
    "RobustClip": "the source uses mean and standard deviation, on updates",
    "SkipAbove": "its arguments are the source's",
    "SkipSpikes": "the source uses mean and standard deviation, and the loss",
    "SoftClip": "each shape has a source of its own",
    "SpectralClip": "the source iterates in bfloat16",
    "NoClip": "there is no source",
}


def test_every_rule_with_a_source_has_a_preset():
    """Composites have none; the others that lack one are listed with the reason."""
    composites = {"Blend", "Chain", "Shadow", "StrategySchedule", "ThresholdSchedule", "Tightest"}
    lacking = {cls.__name__ for cls in concrete_strategies() if not hasattr(cls, "reference")}
    assert lacking - composites == set(NONE)


@pytest.mark.parametrize(
    "cls", [cls for cls in concrete_strategies() if hasattr(cls, "reference")], ids=lambda cls: cls.__name__
)
def test_a_preset_says_what_it_equals(cls):
    """It is a strategy of the class, built without arguments, that prints itself."""
    assert type(cls.reference()) is cls
    assert len(inspect.getdoc(cls.reference).splitlines()[0]) > 30


def test_auto_clips_is_the_authors_code():
    """`np.percentile` of all norms including this one, and torch's quotient."""
    norms = usual(300)
    norms[[0, 50]] *= 1000
    limits = np.array([np.percentile(norms[: k + 1], 10.0) for k in range(len(norms))])
    _, coefs = thresholds_and_coefs(lc.AutoClip.reference(), norms)
    np.testing.assert_allclose(coefs, np.minimum(1.0, limits / (norms + 1e-6)), rtol=1e-12)


def test_normalize_gradients_is_optax():
    """`scale / (norm + 1e-6)`: gradients far below 1e-6 stay small."""
    norms = np.array([1e-9, 1e-3, 1.0, 1e6])
    param = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    for norm in norms:
        param.grad = torch.tensor([norm], dtype=torch.float64)
        clip_(Gradients(["p"], [param]), lc.NormalizeGradient.reference(2.0))
        assert float(param.grad) == pytest.approx(2.0 * norm / (norm + 1e-6), rel=1e-12)


def test_per_parameter_norm_clip_with_eps_is_torch_on_each_parameter():
    """Bit for bit; without it, the rule is exact."""
    ours, theirs = parameters(scripted_weights()), parameters(scripted_weights())
    for step, grads in enumerate(scripted_steps(40)):
        feed(lc.PerParameterNormClip(0.3, eps=1e-6), ours, grads, step=step)
        for name in grads:
            theirs[name].grad = torch.tensor(grads[name])
            nn.utils.clip_grad_norm_([theirs[name]], 0.3)
            assert torch.equal(ours[name].grad, theirs[name].grad)
    assert repr(lc.PerParameterNormClip.reference(0.3)) == repr(lc.PerParameterNormClip(0.3))


def test_growth_limits_is_the_authors_limiter():
    """`g / (max(‖g‖ / (last + 1e-8), γ) / γ)` for gradients that are never zero."""
    last: dict[str, float] = {}

    def limited(grads, weights):
        result = {}
        for name, grad in grads.items():
            size = float(np.linalg.norm(grad))
            limiter = max(size / (last[name] + 1e-8), 1.01) / 1.01 if name in last else 1.0
            result[name] = grad / limiter
            last[name] = size / limiter if size > 0 else last[name]
        return result

    assert_parity(lc.GrowthLimitClip.reference(), limited, dtype=torch.float32, steps=60)


def test_spike_clips_resets_momentum_and_freezes_what_has_no_average():
    """Every fourth step sets both of Adam's moments to zero; an element without an average never moves, as in SPAM."""
    param = nn.Parameter(torch.zeros(2))
    adam, strategy = torch.optim.Adam([param], betas=(0.9, 0.9)), lc.SpikeClip.reference(warmup_steps=2, reset_every=4)
    moments = []
    for step in range(8):
        param.grad = torch.tensor([1.0, 1.0 if step == 6 else 0.0])
        clip_(Gradients(["p"], [param], step=step, optimizer=adam), strategy)
        adam.step()
        moments.append(adam.state[param]["exp_avg_sq"].tolist()[0])
    assert moments[3] == pytest.approx(0.1)
    assert moments[2] > 0.2
    assert param.tolist()[1] == 0.0


def test_spike_clips_reset_needs_an_optimizer():
    """The error quotes the call and names the remedy."""
    with pytest.raises(ValueError, match=r"SpikeClip\(source='own', .*: .* use source='optimizer'"):
        lc.SpikeClip(reset_every=500)
    with pytest.raises(ValueError, match=r"SpikeClip\(reset_every=0\): reset_every must be at least 1"):
        lc.SpikeClip(source="optimizer", reset_every=0)
