import math

import numpy as np
import pytest
import torch
from torch import nn

from lightning_clip import Clamp, Gradients, Keep, NormClip, PerParameterNormClip, Scale, ScaleEach, ValueClip, clip_
from lightning_clip.core import Multiply, Replace, Sequential, Skip


def gradients(
    arrays: dict[str, list[float] | None], dtype: torch.dtype = torch.float64, **arguments: object
) -> Gradients:
    params = [nn.Parameter(torch.zeros(len(values or [0.0]), dtype=dtype)) for values in arrays.values()]
    for param, values in zip(params, arrays.values(), strict=True):
        param.grad = None if values is None else torch.tensor(values, dtype=dtype)
    return Gradients(list(arrays), params, **arguments)


@pytest.fixture
def norm_calls(monkeypatch):
    """The norm types that torch measured, one per call."""
    calls: list[float] = []
    measure = torch._foreach_norm

    def counted(tensors, norm_type=2.0, **arguments):
        calls.append(norm_type)
        return measure(tensors, norm_type, **arguments)

    monkeypatch.setattr(torch, "_foreach_norm", counted)
    return calls


def test_norms_are_those_of_numpy():
    """Norms per tensor and in total match numpy for several p."""
    grads = gradients({"a": [3.0, -4.0], "b": [1.0, 2.0, -2.0]})
    everything = np.array([3.0, -4.0, 1.0, 2.0, -2.0])
    for p in (0.5, 1.0, 2.0, 3.0, math.inf):
        assert float(grads.total_norm(p)) == pytest.approx((np.abs(everything) ** p).sum() ** (1 / p) if p < 9 else 4.0)
        assert grads.norms(p)[1].item() == pytest.approx(np.linalg.norm(everything[2:], p))


def test_a_tied_parameter_counts_once():
    """A parameter under two names, or in two groups, is measured and clipped once."""
    shared = nn.Parameter(torch.zeros(2))
    shared.grad = torch.tensor([3.0, 4.0])
    grads = Gradients(["encoder.weight", "decoder.weight"], [shared, shared])
    assert grads.names == ("encoder.weight",)
    assert float(grads.total_norm()) == 5.0
    clip_(grads, NormClip(2.5, eps=0.0))
    assert shared.grad.tolist() == pytest.approx([1.5, 2.0])


def test_a_missing_gradient_is_left_out():
    """A parameter without a gradient has no entry, but its name is still known."""
    grads = gradients({"a": [3.0], "b": None, "c": [4.0]})
    assert grads.names == ("a", "c")
    assert len(grads) == len(grads.params) == len(grads.tensors) == grads.norms().numel() == 2
    assert grads.known_names == ("a", "b", "c")


def test_no_gradient_at_all_has_the_norm_zero():
    """A step in which no parameter has a gradient is legal."""
    grads = gradients({"a": None})
    assert len(grads) == 0
    assert float(grads.total_norm()) == 0.0
    assert grads.norms().shape == (0,)
    assert grads.device.type == "cpu"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_accumulated_in_float32(dtype):
    """For 1,000 elements of 3,000, squares would overflow float16 and lose digits in bfloat16."""
    param = nn.Parameter(torch.zeros(1000, dtype=dtype))
    param.grad = torch.full((1000,), 3000.0, dtype=dtype)
    total = Gradients(["w"], [param]).total_norm()
    assert total.dtype == torch.float32
    assert float(total) == pytest.approx(float(param.grad[0]) * math.sqrt(1000), rel=1e-6)


def test_squares_that_overflow_are_measured_again():
    """A finite float32 gradient of 1e30 has the norm 1e30, not infinity."""
    grads = gradients({"a": [1e30, 0.0], "b": [1e30]}, torch.float32)
    assert float(grads.total_norm()) == pytest.approx(math.sqrt(2) * 1e30, rel=1e-6)
    assert gradients({"a": [1e30]}, torch.float32).is_finite()
    assert not gradients({"a": [1e30, math.inf]}, torch.float32).is_finite()


def test_bad_gradients_are_named():
    """Names are in the order of the parameters."""
    assert gradients({"a": [1.0], "b": [math.nan, 1.0], "c": [-math.inf]}).non_finite_names() == ["b", "c"]


def test_a_sparse_gradient_counts_repeated_rows_once():
    """The rows of a token that occurs twice are summed before the norm, and clipped in place."""
    embedding = nn.Embedding(5, 2, sparse=True)
    embedding(torch.tensor([1, 1, 3])).sum().backward()
    grads = Gradients.of_module(embedding)
    assert float(grads.total_norm()) == pytest.approx(math.sqrt(2 * 2**2 + 2))
    clip_(grads, NormClip(1.0, eps=0.0))
    assert float(embedding.weight.grad.to_dense().norm()) == pytest.approx(1.0)
    clip_(Gradients.of_module(embedding), ValueClip(0.1))
    assert float(embedding.weight.grad.to_dense().max()) == pytest.approx(0.1)


def test_norms_are_measured_once_for_each_p(norm_calls):
    """Further requests for the same norm type return the cached norms."""
    grads = gradients({"a": [3.0], "b": [4.0]})
    for _ in range(3):
        grads.norms()
        grads.total_norm()
        grads.total_norm(1.0)
    assert norm_calls == [2.0, 1.0]


def test_a_step_measures_once(norm_calls):
    """Clipping costs one measurement per step, including the record."""
    clip_(gradients({"a": [3.0], "b": [4.0]}), NormClip())
    clip_(gradients({"a": [3.0], "b": [4.0]}), PerParameterNormClip())
    assert norm_calls == [2.0, 2.0]


def test_norms_stay_those_from_before_an_action():
    """A norm measured before a change is kept; `remeasured` measures again."""
    grads = gradients({"a": [3.0], "b": [4.0]})
    clip_(grads, NormClip(1.0, eps=0.0))
    assert float(grads.total_norm()) == 5.0
    assert float(grads.remeasured().total_norm()) == pytest.approx(1.0)


def test_an_optimizer_gives_names_by_id_and_position():
    """Parameters without a known name are called `group.position`; optimizer, step and epoch are kept."""
    first, second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    first.grad, second.grad = torch.ones(1), torch.ones(1)
    optimizer = torch.optim.SGD([{"params": [first]}, {"params": [second]}], lr=0.1)
    grads = Gradients.of_optimizer(optimizer, {id(first): "head.weight"}, step=7, epoch=2)
    assert grads.names == ("head.weight", "1.0")
    assert (grads.step, grads.epoch, grads.optimizer) == (7, 2, optimizer)
    assert repr(grads) == "Gradients(2 tensors, step=7)"


def test_weights_and_sizes_are_those_of_the_held_parameters():
    """Strategies can compare a gradient with its weight."""
    grads = gradients({"a": [3.0, 1.0], "b": None, "c": [12.0]})
    grads.params[0].data.fill_(2.0)
    assert grads.param_norms().tolist() == pytest.approx([math.sqrt(8), 0.0])
    assert grads.numels() == [2, 1]


ACTIONS = {
    "keep": lambda grads: Keep(),
    "scale": lambda grads: Scale(torch.tensor(0.25)),
    "scale each": lambda grads: ScaleEach(torch.tensor([0.5, 1.0, 0.0])),
    "multiply": lambda grads: Multiply([torch.tensor([0.5, 1.0]), None, torch.tensor(0.1)]),
    "replace": lambda grads: Replace([torch.tensor([0.0, 1.0]), None, torch.tensor([7.0])]),
    "clamp": lambda grads: Clamp(2.0, grads.total_norm(math.inf)),
    "clamp without effect": lambda grads: Clamp(20.0, grads.total_norm(math.inf)),
    "sequential": lambda grads: Sequential([ScaleEach(torch.tensor([0.5, 1.0, 0.0])), Scale(torch.tensor(0.5))]),
    "sequential, measured": lambda grads: Sequential(
        [Replace([None, None, torch.tensor([7.0])]), Scale(torch.tensor(0.5))]
    ),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ACTIONS)
def test_a_preview_is_what_the_action_leaves(name, dtype):
    """Its norms and elements are those of the gradients after the action."""
    grads = gradients({"a": [3.0, -4.0], "b": [1.0, -1.0, 0.5], "c": [12.0]}, dtype)
    action = ACTIONS[name](grads)
    preview = action.preview(grads)
    norms = {p: (preview.norms(p).clone(), preview.total_norm(p).clone()) for p in (1.0, 2.0, math.inf)}
    tensors = [tensor.clone() for tensor in preview.tensors]
    untouched = [tensor.clone() for tensor in grads.tensors]
    torch.testing.assert_close(untouched, [p.grad for p in grads.params], rtol=0, atol=0)

    action.apply_(grads)
    after = grads.remeasured()
    torch.testing.assert_close(tensors, after.tensors, rtol=0, atol=0)
    tolerance = {"rtol": 1e-2, "atol": 0} if dtype == torch.bfloat16 else {"rtol": 1e-6, "atol": 0}
    for p, (each, total) in norms.items():
        torch.testing.assert_close(each, after.norms(p), **tolerance, check_dtype=False)
        torch.testing.assert_close(total, after.total_norm(p), **tolerance, check_dtype=False)


def test_a_preview_of_a_scale_copies_nothing_until_elements_are_read(norm_calls):
    """Norms follow from the factors of all scales; elements are computed once, on first access."""
    grads = gradients({"a": [3.0], "b": [4.0]})
    preview = ScaleEach(torch.tensor([1.0, 0.5])).preview(Scale(torch.tensor(0.5)).preview(grads))
    assert preview.norms().tolist() == [1.5, 1.0]
    assert norm_calls == [2.0]
    assert preview._tensors is None
    assert preview.tensors is preview.tensors
    assert [tensor.item() for tensor in preview.tensors] == [1.5, 1.0]
    assert [param.grad.item() for param in grads.params] == [3.0, 4.0]


def test_the_preview_of_a_skip_removes_nothing():
    """A decision after a skip still sees the gradients, and the parameters keep them."""
    grads = gradients({"a": [3.0], "b": [4.0]})
    for action in (Skip(torch.tensor(True)), Sequential([Skip(torch.tensor(True)), Clamp(1.0, grads.total_norm())])):
        preview = action.preview(grads)
        assert [tensor.numel() for tensor in preview.tensors] == [1, 1]
        assert all(param.grad is not None for param in grads.params)


def test_the_preview_of_a_sparse_gradient_is_sparse():
    """The preview copies the values and leaves the gradient unchanged."""
    embedding = nn.Embedding(5, 2, sparse=True)
    embedding(torch.tensor([1, 1, 3])).sum().backward()
    grads = Gradients.of_module(embedding)
    preview = Clamp(0.5, grads.total_norm(math.inf)).preview(grads)
    assert float(preview.total_norm()) == pytest.approx(1.0)
    assert float(embedding.weight.grad.to_dense().max()) == 2.0


def test_a_preview_keeps_step_epoch_and_optimizer():
    """A strategy that counts steps also works in the middle of a chain."""
    grads = gradients({"a": [3.0]}, step=5, epoch=2)
    preview = Scale(torch.tensor(0.5)).preview(grads)
    assert (preview.step, preview.epoch, preview.names, preview.known_names) == (5, 2, ("a",), ("a",))
