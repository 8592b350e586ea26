"""Bad arguments of the public classes, as a script gives them. The message quotes the call."""

import inspect
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

import lightning_clip
from lightning_clip import core, datamodules, modules
from tests.faults.bad_input.case import Files, Script


@cache
def scope() -> dict[str, Any]:
    """Every public name, and `torch`."""
    rooms = (core, modules, datamodules, lightning_clip)
    return {"torch": torch, **{name: getattr(room, name) for room in rooms for name in room.__all__}}


def _call(code: str, *says: str, files: Files | None = None) -> Script:
    called = re.match(r"\w+", code)
    assert called is not None
    return Script("ctor", code, (called[0], *says), files or {}, scope=scope)


def _wrong(name: str, argument: str, *values: str, **others: str) -> list[Script]:
    """Wrong values of one argument, each quoted in the message."""
    beside = "".join(f", {key}={value}" for key, value in others.items())
    return [_call(f"{name}({argument}={value}{beside})", argument, _shown(value)) for value in values]


def _shown(value: str) -> str:
    """A value as its `repr` begins."""
    shown = re.sub(r"^float\('(.*)'\)$", r"\1", value).replace("torch.tensor(1.0)", "tensor(1.)")
    return (
        shown.partition("NormClip")[0] if shown not in ("'NormClip'", "['NormClip']") and "NormClip" in shown else shown
    )


# Arguments that a class needs beside the one that is tried.
_SIZES = {"in_features": "2", "out_features": "1"}
_NEEDED = {
    "StrategySwitcher": {"rungs": "[NormClip(1.0)]"},
    "LayerNormRNN": {"input_size": "3", "hidden_size": "4"},
    "RecurrentModule": {"layer": "torch.nn.RNN", **_SIZES, "optimizer": "torch.optim.SGD"},
}


def _flags() -> list[Script]:
    """Every argument of a public class, or of its preset, that is true or false: other values would pass for one."""
    cases = []
    for name in sorted({*lightning_clip.__all__, *modules.__all__, *datamodules.__all__}):
        kind = scope()[name]
        makers = {name: kind, f"{name}.reference": getattr(kind, "reference", None)} if inspect.isclass(kind) else {}
        for call, make in makers.items():
            for argument in _flags_of(make) if make is not None else ():
                cases += _wrong(call, argument, "'yes'", "1", **_NEEDED.get(name, {}))
    return cases


def _flags_of(make: Callable[..., object]) -> list[str]:
    """The names of the arguments that are declared as `bool` or `bool | None`."""
    return [name for name, one in inspect.signature(make).parameters.items() if one.annotation in (bool, bool | None)]


_NAN, _INF = "float('nan')", "float('inf')"
_LIMIT = ("-1", "0", _NAN, _INF, "'1'", "None", "True", "[1]")
_FRACTION = ("-0.1", "1.5", _NAN, "'abc'", "True")
_COUNT = ("0", "-1", "1.5", "'abc'", "True", "None")

CASES = [
    *_flags(),
    *_wrong("NormClip", "max_norm", *_LIMIT, "torch.tensor(1.0)", "1j"),
    *_wrong("NormClip", "norm_type", "-1", "0", _NAN, "'2'"),
    *_wrong("NormClip", "eps", "-1", _NAN, "None"),
    *_wrong("NormClip", "min_scale", "2", "-1", _NAN),
    *_wrong("ValueClip", "clip_value", *_LIMIT),
    *_wrong("PerParameterNormClip", "max_norm", "-1", _INF, "'1'"),
    *_wrong("SoftClip", "max_norm", "-1", _INF),
    *_wrong("SoftClip", "shape", "'cubic'", "None"),
    *_wrong("AutoClip", "percentile", "-1", "101", _NAN, "'abc'"),
    *_wrong("AutoClip", "window", "0", "1.5", "'abc'"),
    *_wrong("AutoClip", "history", "'seen'", "None"),
    *_wrong("AutoClip", "min_history", "0", "'abc'"),
    *_wrong("QuantileClip", "quantile", "2", "-1", _NAN),
    *_wrong("QuantileClip", "rate", "-1", _NAN),
    *_wrong("ZClip", "mode", "'adaptve'", "7"),
    *_wrong("ZClip", "alpha", "1.5", "-1"),
    *_wrong("ZClip", "z_thresh", "-1", _NAN),
    *_wrong("ZClip", "max_norm", "-1", _INF),
    *_wrong("RobustClip", "window", "0", "1.5"),
    *_wrong("RobustClip", "k", "-1", _NAN),
    *_wrong("EmaRatioClip", "trigger", "0.5", _NAN, _INF),
    *_wrong("EmaRatioClip", "fast", "0.99", slow="0.9"),
    *_wrong("EmaRatioClip", "fast", "1.5", "-1"),
    *_wrong("AGC", "clip_factor", "-1", _INF, "'abc'"),
    *_wrong("AGC", "exclude", "'head'"),
    *_wrong("AGC", "unit_axes", "{'w': 'x'}", "{'w': [1.5]}", "'w'"),
    *_wrong("AdaGC", "clip_factor", "-1", _NAN),
    *_wrong("AdaGC", "decay", "1.0", "-1"),
    *_wrong("GrowthLimitClip", "ratio", "-1", _NAN),
    *_wrong("SpikeClip", "theta", "-1", _NAN),
    *_wrong("SpectralClip", "max_singular_value", "-1", _INF),
    *_wrong("SpectralClip", "iterations", "0", "1.5"),
    *_wrong("UpdateRMSClip", "max_rms", "-1", _INF),
    *_wrong("CoordinateClip", "alpha", "-1", _NAN),
    *_wrong("GroupNormClip", "max_norms", "'x'", "['x']", "{'*': -1}", "{'*': 'abc'}", "{}", "7"),
    *_wrong("GroupNormClip", "kind", "'max'", max_norms="{'*': 1}"),
    *_wrong("NormalizeGradient", "norm", "-1", _INF),
    *_wrong("NormalizeGradient", "per", "'layer'"),
    *_wrong("SkipSpikes", "k", "-1", _NAN),
    *_wrong("SkipSpikes", "max_consecutive", "0"),
    *_wrong("Chain", "strategies", "[]", "7", "'NormClip'", "[7]", "[NormClip]", "['NormClip']", "NormClip(1)"),
    *_wrong("Tightest", "strategies", "[]", "7", "[7]"),
    *_wrong("Shadow", "active", "7", "'NormClip'"),
    *_wrong("Shadow", "watched", "NormClip(1.0)", "[7]", active="NormClip(1.0)"),
    *_wrong("Blend", "start", "7", "'NormClip'"),
    *_wrong("Blend", "steps", "-1", "1.5"),
    *_wrong(
        "StrategySchedule",
        "schedule",
        "{}",
        "{-1: NormClip(1.0)}",
        "{0: 1.0}",
        "7",
        "{'a': NormClip(1.0)}",
        "[NormClip(1.0)]",
    ),
    *_wrong("StrategySchedule", "unit", "'day'", schedule="{0: NormClip(1.0)}"),
    *_wrong("ThresholdSchedule", "strategy", "NoClip()", "7"),
    *_wrong("ThresholdSchedule", "steps", "0", "1.5", strategy="NormClip(1.0)"),
    *_wrong("ThresholdSchedule", "end", _NAN, "-1", "'abc'", strategy="NormClip(1.0)"),
    *_wrong("ThresholdSchedule", "shape", "'cubic'", strategy="NormClip(1.0)"),
    *_wrong(
        "StrategySwitcher",
        "rungs",
        "[]",
        "NormClip(1.0)",
        "7",
        "['NormClip']",
        "{0: []}",
        "{-1: [NormClip(1.0)]}",
        "{'a': [NormClip(1.0)]}",
    ),
    *_wrong("StrategySwitcher", "every_n_steps", "0", "1.5", rungs="[NormClip(1.0)]"),
    *_wrong("StrategySwitcher", "detector", "7", rungs="[NormClip(1.0)]"),
    *_wrong("StrategySwitcher", "ladder", "'abc'", rungs="[NormClip(1.0)]"),
    *_wrong("NonFiniteGuard", "action", "'skipp'", "7", "None"),
    *_wrong("NonFiniteGuard", "max_consecutive", *_COUNT),
    *_wrong("DivergenceRollback", "lr_factor", "2", "-1", _NAN, "'abc'"),
    *_wrong("DivergenceRollback", "patience", *_COUNT),
    *_wrong("DivergenceRollback", "detector", "7"),
    *_wrong("BadStepCapture", "on", "'spik'", "[]", "7", "None"),
    *_wrong("BadStepCapture", "keep", *_COUNT),
    *_wrong("BadStepCapture", "max_bytes", "0", "1.5"),
    *_wrong("BadStepCapture", "folder", "7"),
    *_wrong("BadStepCapture", "detector", "7"),
    _call("SkipBatches()", "name the batches or the samples"),
    _call("SkipBatches({(0, -1)})", "counted from 0"),
    _call("SkipBatches(samples={-333})", "-333", "counted from 0"),
    *(_call(f"SkipBatches({value})", value) for value in ("7", "[3]", "[(0, 1.5)]", "'abc'")),
    *_wrong("ClipThresholdFinder", "num_steps", *_COUNT),
    *_wrong("ClipThresholdFinder", "statistic", "'p900'", "'men'", "7", "None"),
    *_wrong("ClipThresholdFinder", "max_update_ratio", "0", "-1", _NAN, "'abc'"),
    *_wrong("LoggerReport", "histograms_every_n_steps", "0", "1.5", "'abc'"),
    *_wrong("AlertSink", "skip_streak", *_COUNT, send="print"),
    *_wrong("AlertSink", "spike_factor", "0", _NAN, "'abc'", send="print"),
    *_wrong("AlertSink", "kinds", "7", send="print"),
    _call("AlertSink(print, kinds=['spikes'])", "'spikes'", "did you mean 'spike'?"),
    _call("AlertSink('print')", "'print'", "a function"),
    *(
        _call(f"WebhookSink({value})", "url")
        for value in ("'hooks.example.com'", "'ftp://x'", "'http://'", "7", "None")
    ),
    *_wrong("WebhookSink", "timeout", "0", _NAN, "'abc'", url="'https://a.b/c'"),
    *_wrong("GradientClipping", "strategy", "1.0", "NormClip", "[NormClip()]"),
    *_wrong("GradientClipping", "flush_every_n_steps", *_COUNT),
    *_wrong("GradientClipping", "group_by", "'modul'", "7", "{'a': 'x'}", "{'a': [7]}", "['a']", "None"),
    *_wrong("GradientClipping", "sinks", "'r.jsonl'", "['r.jsonl']", "7", "[7]"),
    *_wrong("GradientClipping", "name", "7", "None"),
    *_wrong("GradientMonitor", "sinks", "'r.jsonl'", "[7]"),
    *_wrong("GradientMonitor", "group_by", "'params'"),
    *_wrong("GradientMonitor", "flush_every_n_steps", "True"),
    _call("GradientClipping(sinks=JsonlSink('r.jsonl'))", "sinks", "JsonlSink"),
    _call("GradientClipping('autoclp')", "'autoclp'", "did you mean 'AutoClip'?"),
    _call("GradientClipping('NormClp')", "'NormClp'", "did you mean 'NormClip'?"),
    _call("load_record(None)", "path=None", "the path of a file"),
    _call("load_record('')", "path=''", "the path of a file"),
    _call("JsonlSink(3)", "3"),
    _call("JsonlSink(None)", "None"),
    _call("JsonlSink('')", "''"),
    _call("JsonlSink('a\\0b')", "\\x00"),
    _call("CsvSink(3)", "3"),
    _call("CsvSink('')", "''"),
    _call("CsvSink(b'r.csv')", "b'r.csv'"),
    *_wrong("TemporalGradientMonitor", "every_n_steps", "0", "1.5"),
    *_wrong("TemporalGradientMonitor", "max_steps", "0"),
    *_wrong("TemporalGradientMonitor", "rows", "0"),
    *_wrong("TemporalGradientMonitor", "layer", "7"),
    *_wrong("RecurrentSpectrumMonitor", "every_n_steps", "-1", "'abc'"),
    *_wrong("RecurrentSpectrumMonitor", "rows", "0"),
    *_wrong("SpikeDetector", "window", "0", "1.5"),
    *_wrong("SpikeDetector", "mild", "-1", _NAN),
    *_wrong("Ladder", "leak", "1.5", "-1"),
    *_wrong("Ladder", "climb_at", "[]", "'abc'", "[-1.0]"),
    *_wrong("LSTMModule", "hidden_size", "0", "1.5", "'abc'"),
    *_wrong("LSTMModule", "forget_bias", _NAN, _INF, "'chron'"),
    *_wrong("LSTMModule", "dropout", "2", "-1", _NAN, "'abc'"),
    *_wrong("LSTMModule", "in_features", "-1", "None"),
    *_wrong("LSTMModule", "init", "'orthogonl'"),
    *_wrong("LSTMModule", "grad_clip_gates", _NAN, "-1", "'abc'"),
    *_wrong("LSTMModule", "task", "'regresion'", "7"),
    *_wrong("LSTMModule", "many_to_many", "'yes'", "7", "1"),
    *_wrong("LSTMModule", "scheduler_interval", "'day'"),
    *_wrong("LSTMModule", "optimizer", "7", "'SGD'"),
    Script("ctor", "LSTMModule(hiden_size=3)", ("hiden_size",), scope=scope),
    *_wrong("GRUModule", "update_bias", _NAN, "'chron'"),
    *_wrong("RNNModule", "nonlinearity", "'sigmoid'"),
    *_wrong("RNNModule", "regularizer", "7"),
    *_wrong("TBPTTModule", "cell", "'lstmm'"),
    *_wrong("TBPTTModule", "scale_steps_by", "'steps'"),
    *_wrong("TBPTTSequenceModule", "truncated_bptt_steps", "0", "1.5"),
    *_wrong("TBPTTSequenceModule", "backward_steps", "6", truncated_bptt_steps="4"),
    *_wrong("VanishingGradientRegularizer", "weight", "-1", _NAN),
    *_wrong("MLPRegressor", "hidden_sizes", "5", "'abc'", "[0]", "[1.5]", "None"),
    *_wrong("MLPRegressor", "in_features", "0", "'20'", "True"),
    *_wrong("MLPRegressor", "optimizer", "7"),
    _call("LayerNormRNN(3, 0)", "hidden_size", "0"),
    _call("LayerNormRNN(0, 3)", "input_size", "0"),
    _call("ClippedLSTM(3, 4, grad_clip_gates=-1)", "grad_clip_gates=-1"),
    *_wrong("TimeSeriesDataModule", "window", "0", "1.5"),
    *_wrong("TimeSeriesDataModule", "val_fraction", "1.5", "-1", "'abc'"),
    *_wrong("TimeSeriesDataModule", "test_fraction", "0.6", val_fraction="0.6"),
    *_wrong("TimeSeriesDataModule", "delimiter", "';;'", "''", "7"),
    *_wrong("TimeSeriesDataModule", "columns", "'ab'", "[7]"),
    *_wrong("TimeSeriesDataModule", "targets", "'ab'"),
    *_wrong("TimeSeriesDataModule", "missing", "'drop'"),
    *_wrong("TimeSeriesDataModule", "path", "7"),
    *_wrong("CharTextDataModule", "n_symbols", "0", "1.5"),
    *_wrong("CharTextDataModule", "truncated_bptt_steps", "0"),
    *_wrong("CharTextDataModule", "path", "7"),
    *_wrong("RegressionDataModule", "source", "'boston'"),
    *_wrong("RegressionDataModule", "n_informative", "50"),
    *_wrong("RegressionDataModule", "n_samples", "0", "1", "1.5"),
    *_wrong("RegressionDataModule", "noise", "-1", _NAN),
    *_wrong("RegressionDataModule", "batch_size", "0", "'abc'"),
    *_wrong("AddingProblemDataModule", "max_length", "5", length="10"),
    *_wrong("AddingProblemDataModule", "batch_size", "0"),
    *_wrong("TemporalOrderDataModule", "n_bits", "4"),
    *_wrong("MemorizationDataModule", "n_values", "0"),
    *_wrong("NormalLengths", "std", "-1", _NAN),
    *_wrong("RandomTruncation", "cut_probability", "0", "1", "'abc'"),
    _call("clip_(torch.ones(3), NormClip(1.0))", "Gradients", "Tensor"),
    _call("clip_([torch.ones(3)], NormClip(1.0))", "Gradients", "list"),
    _call("clip_(Gradients([], []), 1.0)", "strategy", "1.0", "NormClip(1.0)"),
    _call("clip_(Gradients([], []), 'NormClip')", "strategy", "'NormClip'"),
    _call("clip_(Gradients([], []), NormClip)", "strategy", "NormClip"),
]
