import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn

from lightning_clip import ClipStrategy, Gradients, NoClip, NormClip, SkipSpikes, StrategySchedule, clip_


def threshold_at(strategy: ClipStrategy, *, step: int = 0, epoch: int = 0) -> float | None:
    param = nn.Parameter(torch.zeros(1))
    param.grad = torch.ones(1)
    return clip_(Gradients(["w"], [param], step=step, epoch=epoch), strategy).threshold


def test_each_strategy_is_in_force_from_its_step_on():
    """The change happens exactly at the given step."""
    schedule = StrategySchedule({500: NormClip(5.0), 0: NormClip(1.0), 20: NoClip()})
    assert [threshold_at(schedule, step=k, epoch=k) for k in (0, 19, 20, 499, 500, 10_000)] == [1, 1, None, None, 5, 5]


def test_epochs_can_be_counted_instead():
    """With `unit="epoch"`, the step does not matter."""
    schedule = StrategySchedule({0: NormClip(1.0), 5: NormClip(2.0)}, unit="epoch")
    assert [threshold_at(schedule, step=1000, epoch=e) for e in (0, 4, 5)] == [1.0, 1.0, 2.0]


def test_the_label_is_that_of_the_strategy_in_force():
    """Records and tables name the strategy that decided."""
    schedule = StrategySchedule({0: NoClip(), 10: NormClip(2.0)})
    assert schedule.label == "NoClip()"
    threshold_at(schedule, step=10)
    assert schedule.label == "NormClip(2.0)"


def test_only_the_strategy_in_force_learns():
    """A strategy whose turn has not come sees nothing."""
    early, late = SkipSpikes(), SkipSpikes()
    schedule = StrategySchedule({0: early, 3: late})
    for step in range(5):
        threshold_at(schedule, step=step)
    assert [int(early.norms.count), int(late.norms.count)] == [3, 2]


def test_keys_are_sorted():
    """The order of the keys does not matter, not even for printing."""
    schedule = StrategySchedule({7: NormClip(), 0: NoClip()})
    assert list(schedule.schedule) == [0, 7]
    assert repr(schedule).startswith("StrategySchedule(schedule={0: NoClip(), 7: NormClip(")


def test_state_nests_under_the_key():
    """A checkpoint names the step at which a strategy starts."""
    assert "turns.500.norms.count" in StrategySchedule({0: NoClip(), 500: SkipSpikes()}).state_dict()


def test_it_can_be_written_in_yaml():
    """Keys are numbers, and values are classes with arguments."""
    parser = ArgumentParser()
    parser.add_argument("--clip", type=ClipStrategy)
    arguments = {"0": {"class_path": "NoClip"}, 500: {"class_path": "NormClip", "init_args": {"max_norm": 3.0}}}
    config = parser.parse_object({"clip": {"class_path": "StrategySchedule", "init_args": {"schedule": arguments}}})
    schedule = parser.instantiate(config).clip
    assert [threshold_at(schedule, step=k) for k in (0, 500)] == [None, 3.0]


def test_bad_arguments():
    """The error quotes the call and states the rule."""
    with pytest.raises(ValueError, match=r"StrategySchedule\(schedule=\{5: NoClip\(\)\}\): add a strategy for step 0"):
        StrategySchedule({5: NoClip()})
    with pytest.raises(ValueError, match=r"add a strategy for epoch 0"):
        StrategySchedule({}, unit="epoch")
    with pytest.raises(ValueError, match=r"-1: .*a strategy begins at a whole number of at least 0, not -1"):
        StrategySchedule({0: NoClip(), -1: NoClip()})
    with pytest.raises(ValueError, match=r"a strategy begins at a whole number of at least 0, not '0'"):
        StrategySchedule({"0": NoClip()})
    with pytest.raises(TypeError, match=r"each must be a ClipStrategy, not 1.0"):
        StrategySchedule({0: 1.0})
    with pytest.raises(ValueError, match=r"unit must be one of 'step', 'epoch'"):
        StrategySchedule(unit="batch")
