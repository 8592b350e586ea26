import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn

from lightning_clip import ClipStrategy, Gradients, GroupNormClip, clip_
from tests.references import tensorwise
from tests.support.scripted import SHAPES, assert_parity, in_both_precisions
from tests.support.tensors import clipped, holding, untouched

LINEAR = ("linear.weight", "linear.bias")


@in_both_precisions
def test_one_group_of_all_is_the_total_norm(precision):
    """The defaults are exact clipping by global norm."""
    assert_parity(GroupNormClip(), tensorwise.norm_clip(1.0), **precision)


@in_both_precisions
def test_each_group_has_its_own_limit_and_the_rest_is_left_alone(precision):
    """There are two groups, and `scale` is in neither."""
    reference = tensorwise.group_norm_clip({LINEAR: 0.3, ("conv.weight",): 0.5})
    assert_parity(GroupNormClip({"linear.*": 0.3, "conv.*": 0.5}), reference, **precision)


@in_both_precisions
def test_rms_limits_the_root_mean_square_of_the_group(precision):
    """The limit grows with the root of the number of elements that have a gradient."""
    reference = tensorwise.group_norm_clip({LINEAR: 0.05, ("conv.weight",): 0.02}, rms=True)
    assert_parity(GroupNormClip({"linear.*": 0.05, "conv.*": 0.02}, kind="rms"), reference, **precision)


def test_a_star_alone_stands_for_the_rest():
    """`"*"` does not overlap with a narrower glob and need not match anything."""
    rest = tuple(name for name in SHAPES if name not in LINEAR)
    assert_parity(GroupNormClip({"*": 0.1, "linear.*": 0.3}), tensorwise.group_norm_clip({LINEAR: 0.3, rest: 0.1}))
    GroupNormClip({"w*": 1.0, "*": 1.0}).decide(holding(weight=torch.ones(2)))


def test_min_scale_is_the_smallest_factor():
    """A group 100 times over its limit shrinks to a tenth."""
    left = clipped(GroupNormClip({"a": 1.0}, min_scale=0.1), a=torch.tensor([100.0]), b=torch.tensor([100.0]))
    assert (float(left["a"]), float(left["b"])) == (10.0, 100.0)


def test_a_group_that_is_not_finite_is_left_and_the_others_are_clipped():
    """A NaN in one group does not affect the others."""
    grads = {"a__x": torch.tensor([torch.nan]), "a__y": torch.tensor([9.0]), "b": torch.tensor([3.0, 4.0])}
    left = clipped(GroupNormClip({"a.*": 1.0, "b": 1.0}), **grads)
    assert float(left["a__y"]) == 9.0
    torch.testing.assert_close(left["b"], torch.tensor([0.6, 0.8]))


def test_nothing_is_written_where_nothing_changes():
    """Groups below their limits are not touched."""
    untouched(GroupNormClip({"a": 10.0}), a=torch.ones(3), b=torch.full((3,), 100.0))


def test_a_glob_that_matches_nothing_is_refused_at_the_first_step():
    """The error names the call, the glob and the remedy in one line."""
    with pytest.raises(
        ValueError, match=r"'encoder\.\*': 1\.0.*: 'encoder\.\*' matches no parameter .*did you mean 'decoder\.\*'"
    ) as e:
        GroupNormClip({"encoder.*": 1.0}).decide(holding(decoder__weight=torch.ones(2)))
    assert "\n" not in str(e.value)


def test_a_parameter_without_a_gradient_is_no_false_alarm():
    """A glob may match parameters that have no gradient now, are frozen, or belong to another optimizer."""
    net = nn.ModuleDict({"used": nn.Linear(2, 1), "unused": nn.Linear(2, 1), "other": nn.Linear(2, 1)})
    net["used"](torch.full((1, 2), 100.0)).sum().backward()
    rule = GroupNormClip({"used.*": 1.0, "unused.*": 1.0})
    clip_(Gradients.of_module(net), rule)
    assert float(Gradients.of_module(net).total_norm()) == pytest.approx(1.0)

    optimizer = torch.optim.SGD([*net["used"].parameters(), *net["unused"].parameters()], lr=0.1)
    names = {id(param): name for name, param in net.named_parameters()}
    GroupNormClip({"used.*": 1.0, "unused.*": 1.0, "other.*": 1.0}).decide(Gradients.of_optimizer(optimizer, names))
    with pytest.raises(ValueError, match="'other'"):
        GroupNormClip({"used.*": 1.0, "unused.*": 1.0, "other": 1.0}).decide(Gradients.of_optimizer(optimizer, names))


def test_overlapping_globs_are_refused_at_the_first_step():
    """The error names the parameter and both globs; the parameter needs no gradient for that."""
    layer = nn.Linear(2, 1)
    layer.weight.grad = torch.ones(1, 2)
    with pytest.raises(ValueError, match=r"'bias' is matched by 'b\*' and '\*as'; make them narrower"):
        GroupNormClip({"b*": 1.0, "*as": 1.0}).decide(Gradients.of_module(layer))


@pytest.mark.parametrize("cell", [nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell])
@pytest.mark.parametrize("prefix", ["", "model.encoder."])
def test_the_rnn_preset_finds_the_weights_of_every_recurrent_layer(cell, prefix):
    """Input-hidden, hidden-hidden and bias have their own limits under any module prefix; others stay unclipped."""
    named = {prefix + name: p for name, p in cell(3, 4).named_parameters()} | {
        "head.weight": nn.Parameter(torch.ones(2))
    }
    for param in named.values():
        param.grad = torch.ones_like(param)
    grads = Gradients(list(named), list(named.values()))
    clip_(grads, GroupNormClip.rnn(0.1, 0.2, 0.3))
    for part, limit in (("weight_ih", 0.1), ("weight_hh", 0.2), ("bias_", 0.3), ("head", np.sqrt(2))):
        norm = torch.cat([p.grad.flatten() for name, p in named.items() if part in name]).norm()
        assert float(norm) == pytest.approx(limit), part


def test_the_rnn_preset_counts_projections_and_reverse_directions_and_can_leave_groups_out():
    """`weight_hr_l0` is recurrent; `None` leaves a group unclipped; `other` takes the rest."""
    lstm = nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2, bias=False)
    for param in lstm.parameters():
        param.grad = torch.ones_like(param)
    clip_(Gradients.of_module(lstm), GroupNormClip.rnn(None, 0.2, None))
    recurrent = torch.cat([p.grad.flatten() for name, p in lstm.named_parameters() if "weight_h" in name])
    assert float(recurrent.norm()) == pytest.approx(0.2)
    assert all((p.grad == 1).all() for name, p in lstm.named_parameters() if "weight_ih" in name)
    assert GroupNormClip.rnn(None, None, None, other=2.0).max_norms == {"*": 2.0}


def test_the_rnn_preset_can_be_named_in_a_configuration():
    """`class_path: lightning_clip.GroupNormClip.rnn` resolves, with its arguments."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--rule", type=ClipStrategy)
    entry = {"class_path": "lightning_clip.GroupNormClip.rnn", "init_args": {"hidden_hidden": 0.5, "bias": None}}
    instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes  # renamed in jsonargparse 4.49
    rule = instantiate(parser.parse_object({"rule": entry})).rule
    assert repr(rule) == repr(GroupNormClip.rnn(hidden_hidden=0.5, bias=None))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"max_norms": {"a.*": -1.0}},
            r"GroupNormClip\(max_norms={'a\.\*': -1\.0}\): the limit of 'a\.\*' must be a positive, finite number",
        ),
        (
            {"max_norms": {}},
            r"GroupNormClip\(max_norms=\{\}\): max_norms needs at least one glob, such as \{'\*': 1\.0\}",
        ),
        ({"kind": "max"}, r"GroupNormClip\(kind='max'\): kind must be one of 'l2', 'rms'"),
        ({"min_scale": 2}, r"GroupNormClip\(min_scale=2\): min_scale must be a number between 0 and 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=message):
        GroupNormClip(**arguments)
