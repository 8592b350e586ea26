"""`LayerNormRNN`: its outputs against a plain loop."""

import pytest
import torch

from lightning_clip.modules import LayerNormRNN


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_a_plain_loop_gives_the_same(nonlinearity):
    """Two layers equal a loop that normalizes each pre-activation over the units, then applies gain, bias and f."""
    torch.manual_seed(0)
    layer = LayerNormRNN(3, 8, 2, nonlinearity)
    for name, param in layer.named_parameters():
        if name.startswith("norm"):
            torch.nn.init.normal_(param)
    below = x = torch.randn(5, 4, 3)
    ends = []
    for depth in range(2):
        weights = {name: param for name, param in layer.named_parameters() if name.endswith(f"l{depth}")}
        h, outputs = torch.zeros(4, 8), []
        for x_t in below:
            z = x_t @ weights[f"weight_ih_l{depth}"].T + h @ weights[f"weight_hh_l{depth}"].T
            z = (z - z.mean(1, keepdim=True)) / (z.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
            z = z * weights[f"norm_weight_l{depth}"] + weights[f"norm_bias_l{depth}"]
            h = z.tanh() if nonlinearity == "tanh" else z.clamp(min=0)
            outputs.append(h)
        below = torch.stack(outputs)
        ends.append(h)
    output, h_n = layer(x)
    torch.testing.assert_close(output, below)
    torch.testing.assert_close(h_n, torch.stack(ends))


def test_the_size_of_the_weights_does_not_matter():
    """Ten times larger weights give the same states, and thus no larger gradients through time."""
    torch.manual_seed(0)
    layer, x = LayerNormRNN(3, 8), torch.randn(5, 4, 3)
    before = layer(x)[0]
    for name, param in layer.named_parameters():
        if name.startswith("weight"):
            param.data *= 10
    torch.testing.assert_close(layer(x)[0], before, rtol=1e-3, atol=1e-3)


def test_parameters_are_named_as_in_torch():
    """Parameters have torch's names, without the biases, and all of them get gradients."""
    layer = LayerNormRNN(3, 8, batch_first=True)
    assert list(layer.state_dict()) == ["weight_ih_l0", "weight_hh_l0", "norm_weight_l0", "norm_bias_l0"]
    layer(torch.randn(2, 5, 3))[0].square().sum().backward()
    assert all(param.grad.any() for param in layer.parameters())


def test_it_goes_on_from_a_state_in_either_order_of_dimensions():
    """Two halves, connected by the state, give the outputs of the whole sequence in either layout."""
    torch.manual_seed(0)
    first, steps = LayerNormRNN(3, 8, batch_first=True), LayerNormRNN(3, 8)
    steps.load_state_dict(first.state_dict())
    x = torch.randn(2, 6, 3)
    whole, _ = first(x)
    start, state = steps(x[:, :4].transpose(0, 1))
    end, _ = steps(x[:, 4:].transpose(0, 1), state)
    torch.testing.assert_close(torch.cat([start, end]).transpose(0, 1), whole)
