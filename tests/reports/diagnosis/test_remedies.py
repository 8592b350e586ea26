"""Every line of code that a remedy can print runs, and every call that a remedy names in passing exists."""

import ast
import inspect
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import lightning_clip
from lightning_clip.core import RunInfo
from lightning_clip.reports import Evidence, diagnosis
from lightning_clip.reports.diagnosis import lines
from tests.reports.sick_runs.kit import LastState
from tests.support.recorded import history_of
from tests.support.training import quiet_trainer

FOLDER = Path(diagnosis.__file__).parent
NETWORK = LastState(nn.LSTM(2, 4, batch_first=True))
RUNS = [
    RunInfo("M", "NoClip()", "Adam(lr=0.1)"),
    RunInfo("M", "NoClip()", "SGD(lr=0.1, momentum=0.9)", trains=["head"]),
    RunInfo("M", "NoClip()", "SGD(lr=0.1)", trains=["head and recurrent"]),
    RunInfo("M", "NoClip()", "SomebodysOwn(lr=0.1)"),
    RunInfo(),
]
EVIDENCE = [Evidence.of(history_of([1.0] * 30), RUNS[0])]
ONE = EVIDENCE[0].optimizers[0]
ARGUMENTS = {
    "evidence": EVIDENCE,
    "name": ["NormClip"],
    "arguments": ["max_norm=2.0"],
    "run": RUNS,
    "one": [ONE],
    "factor": [0.01, 10.0, 1e4],
    "lag": [24],
    "gru": [True, False],
}
"""Values of the arguments of the functions that return lines, by the name of the argument."""


def every_remedy() -> dict[str, tuple[str, ...]]:
    """Every constant, and every function with every value of every argument."""
    found = {name: value for name, value in vars(lines).items() if name.isupper() and isinstance(value, tuple)}
    for name, make in inspect.getmembers(lines, inspect.isfunction):
        if name.startswith("_") or make.__module__ != lines.__name__:
            continue
        calls: list[dict[str, object]] = [{}]
        for argument in inspect.signature(make).parameters:
            calls = [{**call, argument: value} for call in calls for value in ARGUMENTS[argument]]
        found |= {f"{name} {number}": make(**call) for number, call in enumerate(calls)}
    return found


@pytest.mark.parametrize("code", every_remedy().values(), ids=every_remedy())
def test_every_line_of_code_runs(code: tuple[str, ...]):
    """In a script with the names that `Finding.code` promises; weights stay finite, and lines can be pasted."""
    assert max(map(len, code)) <= 72
    namespace = {
        "torch": torch,
        "nn": nn,
        "Trainer": lambda callbacks: quiet_trainer(callbacks=callbacks),
        "model": NETWORK,
        "in_features": 2,
        "out_features": 1,
        "y_train": torch.randn(8, 1),
        "optimizer": torch.optim.SGD(NETWORK.parameters(), 1),
    }
    exec("\n".join(code), namespace)
    assert all(bool(torch.isfinite(param).all()) for param in NETWORK.parameters())


def texts() -> list[str]:
    """The strings of the rules that are no docstrings; a string with values is as many pieces as it has."""
    found = []
    for path in sorted(FOLDER.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements
        ]
    return found


NAMES = {**{name: getattr(lightning_clip, name) for name in lightning_clip.__all__}, "nn": nn, "torch": torch}
CALLS = sorted(
    {call for text in texts() for call in re.findall(r"\b(?:torch\.|nn\.)?[A-Za-z_]+\((?:\w+=|True|False)", text)}
)


def test_calls_are_found():
    """The search finds some of those that are known to be there."""
    assert {"torch.set_flush_denormal(True", "LSTMModule(grad_clip_gates=", "Trainer(detect_anomaly="} <= set(CALLS)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_in_a_text_exists(call: str):
    """What it calls is public, in torch or in Lightning, and has the argument it is given."""
    from lightning.pytorch import Trainer

    name, argument = call.removesuffix("=").split("(")
    called: object = {**NAMES, "Trainer": Trainer, "requires_grad_": nn.Module.requires_grad_}.get(name.split(".")[0])
    for part in name.split(".")[1:]:
        called = getattr(called, part)
    assert callable(called), call
    if argument not in ("True", "False"):
        assert argument in inspect.signature(called).parameters, call


CLASSES = sorted({name for text in texts() for name in re.findall(r"\b(?:nn\.)?[A-Z]\w*[a-z][A-Z]\w*", text)} - {"NaN"})


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_in_a_text_exists(name: str):
    """Names in camel case are classes of this package or of torch."""
    owners = (nn,) if name.startswith("nn.") else (lightning_clip, lightning_clip.modules, torch.optim, nn)
    assert any(hasattr(owner, name.removeprefix("nn.")) for owner in owners), name


OPTIONS = sorted({pair for text in texts() for pair in re.findall(r'(?<!\w)([a-z]\w*)="(\w+)"', text)})


@pytest.mark.parametrize(("option", "value"), OPTIONS)
def test_an_option_in_a_text_exists(option: str, value: str):
    """A network or an initialization takes it."""
    if option in inspect.signature(nn.init.kaiming_normal_).parameters:
        nn.init.kaiming_normal_(torch.zeros(2, 2), **{option: value})
    else:
        lightning_clip.RNNModule(2, 1, **{option: value})
