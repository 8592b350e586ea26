import pytest
import torch
from torch import nn

from lightning_clip import AGC, Gradients, clip_
from tests.references import tensorwise
from tests.support.scripted import assert_parity, in_both_precisions
from tests.support.tensors import clipped, holding, untouched


def with_grad(value: torch.Tensor, grad: torch.Tensor) -> nn.Parameter:
    param = nn.Parameter(value)
    param.grad = grad
    return param


@in_both_precisions
def test_it_follows_the_formula(precision):
    """It clips row by row and filter by filter, with the floor for a zero filter."""
    assert_parity(AGC(), tensorwise.agc(0.01, 1e-3), **precision)
    assert_parity(AGC(0.2, eps=0.05), tensorwise.agc(0.2, 0.05), **precision)


def test_excluded_parameters_are_left_alone():
    """`exclude` takes globs, and one parameter may match two of them."""
    names = ("linear.weight", "linear.bias")
    assert_parity(AGC(exclude=("linear.*", "*.bias")), tensorwise.agc(0.01, 1e-3, exclude=names))


@pytest.mark.parametrize("norm_type", [1.0, float("inf")])
def test_another_norm_measures_gradients_and_weights(norm_type):
    """`norm_type` is that of rows, of filters and of tensors that are one unit."""
    torch.manual_seed(0)
    for shape in ((3, 4), (2, 3, 2, 2), (5,)):
        weight, grad = torch.randn(shape), torch.randn(shape)
        param = with_grad(weight.clone(), grad.clone())
        clip_(Gradients(["w"], [param]), AGC(0.1, norm_type=norm_type))
        rows = (1, -1) if len(shape) == 1 else (shape[0], -1)
        sizes, norms = (x.reshape(rows).norm(norm_type, dim=1, keepdim=True) for x in (weight, grad))
        expected = grad.reshape(rows) * (0.1 * sizes / norms).clamp(max=1)
        torch.testing.assert_close(param.grad.reshape(rows), expected)


def test_unit_axes_say_what_a_unit_is():
    """`()` makes the tensor one unit; another axis makes columns the units."""
    assert_parity(AGC(unit_axes={"conv.*": ()}), tensorwise.agc(0.01, 1e-3, whole=("conv.weight",)))
    assert_parity(AGC(unit_axes={"conv.*": (0, 1, 2, 3)}), tensorwise.agc(0.01, 1e-3, whole=("conv.weight",)))
    for axes in ((0,), (-2,)):
        weight = with_grad(torch.ones(2, 3), torch.tensor([[3.0, 0.0, 1e-3], [4.0, 0.0, 1e-3]]))
        clip_(Gradients(["w"], [weight]), AGC(0.1, unit_axes={"w": axes}))
        limit = 0.1 * 2**0.5
        torch.testing.assert_close(weight.grad[:, 0], torch.tensor([0.6, 0.8]) * limit)
        torch.testing.assert_close(weight.grad[:, 1:], torch.tensor([[0.0, 1e-3], [0.0, 1e-3]]))


def test_a_transposed_convolution_is_clipped_like_the_convolution_it_mirrors():
    """With its axes given, the units are the output channels."""
    kernel, grad = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2)
    plain = with_grad(kernel, grad.clone())
    turned = with_grad(kernel.transpose(0, 1).contiguous(), grad.transpose(0, 1).contiguous())
    clip_(Gradients(["down", "up"], [plain, turned]), AGC(unit_axes={"up": (0, 2, 3)}))
    torch.testing.assert_close(turned.grad.transpose(0, 1), plain.grad)


def test_weights_that_start_at_zero_still_move():
    """The floor leaves a gradient with a norm of `clip_factor · eps` instead of zero."""
    left = clipped(AGC(0.01, eps=1e-3), weight=torch.full((2, 3), 5.0))["weight"]
    torch.testing.assert_close(left.norm(dim=1), torch.full((2,), 1e-5))


def test_weights_of_before_the_step_count():
    """The limit follows the parameter from step to step."""
    weight = with_grad(torch.ones(1, 4), torch.full((1, 4), 10.0))
    rule = AGC(0.1)
    for size in (1.0, 3.0):
        with torch.no_grad():
            weight.fill_(size)
        weight.grad.fill_(10.0)
        clip_(Gradients(["w"], [weight]), rule)
        assert float(weight.grad.norm()) == pytest.approx(0.1 * 2 * size)


def test_min_scale_is_the_smallest_factor():
    """Rows and vectors far over their limits shrink to a tenth."""
    left = clipped(AGC(min_scale=0.1), weight=torch.ones(2, 3), bias=torch.ones(3))
    torch.testing.assert_close(left["weight"], torch.full((2, 3), 0.1))
    torch.testing.assert_close(left["bias"], torch.full((3,), 0.1))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_unit_that_is_not_finite_is_left_and_the_others_are_clipped(bad):
    """A bad row does not affect its neighbor or another tensor."""
    left = clipped(AGC(), weight=torch.tensor([[bad, 2.0], [3.0, 4.0]]), bias=torch.ones(4))
    assert float(left["weight"][0, 1]) == 2.0
    assert float(left["weight"][1].norm()) == pytest.approx(1e-5)
    assert float(left["bias"].norm()) == pytest.approx(1e-5)


def test_finite_units_whose_norm_overflows_are_clipped():
    """This covers elements of 1e27 in float32 and a norm of 94,868 in float16."""
    for grad in (torch.full((2, 9), 1e27), torch.full((2, 1000), 3000.0, dtype=torch.float16)):
        weight = with_grad(torch.ones_like(grad), grad)
        clip_(Gradients(["w"], [weight]), AGC(0.1))
        expected = 0.1 * grad.shape[1] ** 0.5
        torch.testing.assert_close(
            weight.grad.double().norm(dim=1), torch.full((2,), expected).double(), rtol=2e-3, atol=0
        )


def test_a_sparse_gradient_is_clipped_row_by_row_like_the_dense_one():
    """Only the rows that were looked up are compared with their weights."""
    for axes in (None, {"weight": (1,)}, {"weight": ()}):
        ours, dense = nn.Embedding(6, 3, sparse=True), nn.Embedding(6, 3)
        dense.load_state_dict(ours.state_dict())
        for layer in (ours, dense):
            (layer(torch.tensor([1, 4, 1, 1])) * torch.tensor([1e-3, 5.0, 2.0])).sum().backward()
            clip_(Gradients.of_module(layer), AGC(unit_axes=axes))
        torch.testing.assert_close(ours.weight.grad.to_dense(), dense.weight.grad)
        assert float(dense.weight.grad.norm()) > 0


def test_nothing_is_written_where_nothing_changes():
    """Gradients within the ratio are not touched."""
    untouched(AGC(eps=1e3), weight=torch.ones(3, 2), bias=torch.ones(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clip_factor": 0.0}, r"AGC\(clip_factor=0.0\): clip_factor must be a positive, finite number"),
        ({"eps": 0.0}, r"AGC\(eps=0.0\): eps must be a positive, finite number"),
        ({"min_scale": -1}, r"AGC\(min_scale=-1\): min_scale must be a number between 0 and 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        AGC(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exclude": ("head.*",)}, r"AGC\(exclude=\('head\.\*',\)\): 'head\.\*' matches no parameter .*correct it"),
        ({"unit_axes": {"up": (0,)}}, r"AGC\(unit_axes=\{'up': \(0,\)\}\): 'up' matches no parameter .*correct it"),
        ({"unit_axes": {"w*": (0,), "*t": ()}}, r"'weight' is matched by 'w\*' and '\*t'; make them narrower"),
        ({"unit_axes": {"weight": (0, 2)}}, r"\(0, 2\)\}\): 'weight' has 2 dimensions; choose from \(0, 1\)"),
    ],
)
def test_globs_and_axes_are_checked_at_the_first_step(arguments, message):
    """Names and shapes are known then; the error names the remedy."""
    with pytest.raises(ValueError, match=message):
        AGC(**arguments).decide(holding(weight=torch.ones(2, 3)))


def test_one_string_is_no_list_of_globs():
    """`exclude="head.*"` would be six globs of one letter."""
    with pytest.raises(TypeError, match=r"AGC\(exclude='head\.\*'\): one string was given; .*\['head\.\*'\]"):
        AGC(exclude="head.*")


def test_columns_of_a_sparse_gradient_are_refused():
    """A sparse gradient does not contain a unit that runs across rows."""
    layer = nn.Embedding(6, 3, sparse=True)
    layer(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="the units of a sparse gradient are its rows; omit 0, or exclude it"):
        AGC(unit_axes={"weight": (0,)}).decide(Gradients.of_module(layer))
