import pytest
import torch
from torch import nn

from lightning_clip import Gradients, UpdateRMSClip, clip_
from tests.references import per_tensor
from tests.support.scripted import feed, parameters, scripted_steps, scripted_weights
from tests.support.tensors import holding

ADAMS = [torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam]


def stepped(optimizer: torch.optim.Optimizer, grad: float, times: int) -> Gradients:
    """The gradients of an optimizer of one parameter after some equal steps."""
    (param,) = optimizer.param_groups[0]["params"]
    for _ in range(times):
        param.grad = torch.full_like(param, grad)
        optimizer.step()
    param.grad = torch.full_like(param, grad)
    return Gradients.of_optimizer(optimizer)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("optimizer", ADAMS, ids=lambda cls: cls.__name__)
def test_it_follows_the_formula(optimizer, dtype):
    """`g / max(1, RMS / max_rms)`, with the second moment that the optimizer holds after its step."""
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    params = parameters(scripted_weights(), dtype)
    adam = optimizer(params.values(), lr=0.0, betas=(0.9, 0.95))
    reference = per_tensor.update_rms(0.8, beta2=0.95)
    for step, grads in enumerate(scripted_steps(200)):
        expected = reference(grads, {})
        feed(UpdateRMSClip(0.8), params, grads, step=step, optimizer=adam)
        for name, value in expected.items():
            actual = params[name].grad.double()
            torch.testing.assert_close(actual, torch.tensor(value), rtol=tolerance, atol=tolerance * abs(value).max())
        adam.step()


@pytest.mark.parametrize("kind", ["plain", "amsgrad", "capturable", "fused", "tensor_betas"])
def test_it_predicts_what_adam_divides_by(kind):
    """The predicted root of the second moment equals the bias-corrected one that the step leaves."""
    options = {
        "plain": {},
        "amsgrad": {"amsgrad": True},
        "capturable": {"foreach": False},
        "fused": {"fused": True},
        "tensor_betas": {"betas": (torch.tensor(0.9), torch.tensor(0.999)), "foreach": False},
    }[kind]
    param = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    adam = torch.optim.Adam([param], lr=0.1, eps=0.0, **options)
    for grad in ([1.0, 2.0, 3.0], [30.0, 1.0, 3.0], [0.1, 0.2, 0.3]):
        param.grad = torch.tensor(grad, dtype=torch.float64)
        rms = UpdateRMSClip().update_rms(Gradients.of_optimizer(adam))
        adam.step()
        state = adam.state[param]
        root = (
            state["max_exp_avg_sq" if kind == "amsgrad" else "exp_avg_sq"] / (1 - 0.999 ** float(state["step"]))
        ) ** 0.5
        torch.testing.assert_close(rms, (param.grad / root).square().mean().sqrt().view(1), rtol=1e-5, atol=0.0)


def test_the_first_step_has_an_update_of_one():
    """Without a second moment yet, the predicted one is the gradient's own square."""
    grads = stepped(torch.optim.Adam([nn.Parameter(torch.zeros(5))]), 1e-3, 0)
    assert float(UpdateRMSClip().update_rms(grads)) == pytest.approx(1.0)


def test_a_gradient_that_outgrows_the_second_moment_is_scaled_down():
    """A tenfold gradient after 1000 equal ones has an update of 9.56 and is divided by it."""
    grads = stepped(torch.optim.Adam([nn.Parameter(torch.zeros(5))]), 0.01, 1000)
    grads.tensors[0].mul_(10)
    expected = 10 / (0.001 * 100 / (1 - 0.999**1001) + 0.999 * (1 - 0.999**1000) / (1 - 0.999**1001)) ** 0.5
    clip_(grads, UpdateRMSClip())
    torch.testing.assert_close(grads.tensors[0], torch.full((5,), 0.1 / expected), rtol=1e-4, atol=0.0)


def test_eps_keeps_tiny_second_moments_from_counting():
    """A gradient far below `eps` has an update far below one."""
    grads = stepped(torch.optim.Adam([nn.Parameter(torch.zeros(5))]), 1e-9, 3)
    assert float(UpdateRMSClip(eps=1e-6).update_rms(grads)) == pytest.approx(1e-3)


def test_min_scale_is_the_smallest_factor():
    """A hundredfold gradient is halved and no more."""
    grads = stepped(torch.optim.Adam([nn.Parameter(torch.zeros(5))]), 1.0, 100)
    grads.tensors[0].mul_(100)
    clip_(grads, UpdateRMSClip(0.01, min_scale=0.5))
    torch.testing.assert_close(grads.tensors[0], torch.full((5,), 50.0))


def test_a_gradient_that_is_not_finite_is_left_and_the_others_are_clipped():
    """A NaN in one gradient does not affect the others."""
    params = {"a": nn.Parameter(torch.zeros(2)), "b": nn.Parameter(torch.zeros(2))}
    adam = torch.optim.Adam(params.values())
    for param in params.values():
        param.grad = torch.ones(2)
    adam.step()
    params["a"].grad = torch.tensor([torch.nan, 1.0])
    params["b"].grad = torch.full((2,), 100.0)
    clip_(Gradients.of_optimizer(adam), UpdateRMSClip(0.5))
    assert float(params["a"].grad[1]) == 1.0
    assert float(params["b"].grad[0]) < 60.0


def test_an_optimizer_without_second_moments_is_refused():
    """The error names the optimizer and the alternative."""
    for optimizer in (torch.optim.SGD, torch.optim.Adamax):
        grads = stepped(optimizer([nn.Parameter(torch.zeros(2))], lr=0.1), 1.0, 1)
        with pytest.raises(ValueError, match=rf"UpdateRMSClip\(.*AdamW.*{optimizer.__name__} keeps none.*AdaGC"):
            UpdateRMSClip().decide(grads)


def test_an_optimizer_without_second_moments_is_refused_before_its_first_step():
    """SGD has no state then but is recognized all the same."""
    with pytest.raises(ValueError, match=r"SGD keeps none: change the optimizer, or use AdaGC"):
        UpdateRMSClip().decide(stepped(torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1), 1.0, 0))


def test_gradients_without_an_optimizer_are_refused():
    """The error says how to provide one."""
    with pytest.raises(ValueError, match=r"UpdateRMSClip\(.*Gradients.of_optimizer\(optimizer\)"):
        UpdateRMSClip().decide(holding(w=torch.ones(2)))


def test_a_sparse_gradient_is_refused():
    """Its elements do not match those of the second moment."""
    layer = nn.Embedding(4, 2, sparse=True)
    adam = torch.optim.Adam(layer.parameters())
    layer(torch.tensor([1])).sum().backward()
    with pytest.raises(
        ValueError, match=r"needs dense, real gradients, but that of '0.0' is sparse or complex: use AdaGC"
    ):
        UpdateRMSClip().decide(Gradients.of_optimizer(adam))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_rms": 0.0}, r"UpdateRMSClip\(max_rms=0.0\): max_rms must be a positive, finite number"),
        ({"eps": -1e-6}, r"UpdateRMSClip\(eps=-1e-06\): eps must be a positive, finite number"),
        ({"min_scale": 1.5}, r"UpdateRMSClip\(min_scale=1.5\): min_scale must be a number between 0 and 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        UpdateRMSClip(**arguments)
