"""Bad files: records of runs and `results.json`, each wrong in one place; the answer names the file and the line."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from tests.faults.bad_input.case import Command

RUN: dict[str, Any] = {
    "run": {"model": "MLP", "strategy": "NormClip(1.0)", "optimizer": "SGD(lr=0.1)", "numels": {"w": 6}, "seconds": 1.5}
}
STEP: dict[str, Any] = {
    "step": 0,
    "optimizer": 0,
    "strategy": "NormClip(1.0)",
    "norm_before": 4.0,
    "norm_after": 1.0,
    "threshold": 1.0,
    "clip_coef": 0.25,
    "clipped": True,
    "finite": True,
    "skipped": False,
    "loss": 2.0,
}
EVENT: dict[str, Any] = {"event": {"step": 1, "kind": "switch", "message": "switched", "data": {"rung": 1}}}
MEASUREMENT: dict[str, Any] = {"measurement": {"step": 1, "kind": "temporal-gradient", "data": {"layer": "rnn"}}}
TOTALS: dict[str, Any] = {"totals": {"seconds": 1.5, "layers": {}}}

_COUNT, _NUMBER, _WORD, _FLAG, _MAP = (
    (-7, 1.5, "abc", None, True, [1]),
    ("abc", True, [2.5], {"a": 1}, -4.5),
    (7, None, ["abc"], True),
    ("perhaps", 1, None),
    (None, "abc", [1], 7),
)
_WRONG: dict[str, tuple[Any, ...]] = {
    **{f"step.{name}": _COUNT for name in ("step", "optimizer")},
    **{f"step.{name}": _NUMBER for name in ("norm_before", "norm_after", "clip_coef", "threshold")},
    "step.loss": _NUMBER[:-1],
    "step.strategy": _WORD,
    **{f"step.{name}": _FLAG for name in ("clipped", "finite", "skipped")},
    "step.watched": ("abc", [1], {"NormClip(2.0)": "abc"}, {"NormClip(2.0)": None}),
    "step.bad_params": ("abc", 7, [7]),
    **{f"run.{name}": _WORD for name in ("model", "strategy", "optimizer", "id")},
    "run.numels": (*_MAP, {"w": "abc"}, {"w": -7}, {"w": 1.5}),
    "run.seconds": ("abc", -4.5, True, [1.5]),
    "run.start_step": (-7, "abc", 1.5),
    "event.step": _COUNT[:4],
    "event.kind": _WORD[:2],
    "event.message": _WORD[:2],
    "event.data": (*_MAP,),
    "measurement.step": _COUNT[:4],
    "measurement.kind": _WORD[:2],
    "measurement.data": (*_MAP, {"layer": None}, {"layer": {"a": 1}}),
    **{f"step.{name}": (-7, 1.5, "abc", True) for name in ("epoch", "batch", "first_batch")},
    "step.learning_rate": ("abc", [1]),
    "step.top_param": (7, [1]),
    "step.top_share": ("abc", -4.5),
    "totals.seconds": ("abc", -4.5),
    "totals.layers": (*_MAP,),
}
_LINES = {
    "run": (1, RUN),
    "step": (2, STEP),
    "event": (3, EVENT),
    "measurement": (4, MEASUREMENT),
    "totals": (5, TOTALS),
}
_REQUIRED = {
    "run": ("model", "strategy", "optimizer", "numels", "seconds"),
    "step": ("step", "optimizer", "norm_before", "loss", "clipped"),
    "event": ("step", "kind", "message", "data"),
    "measurement": ("step", "kind", "data"),
    "totals": ("seconds", "layers"),
}


def _fields(line: dict[str, Any], kind: str) -> dict[str, Any]:
    fields: dict[str, Any] = line if kind == "step" else line[kind]
    return fields


def _text(*lines: Any) -> str:
    return "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)


def _record(name: str, content: str | bytes, *says: str) -> Command:
    return Command("file", f"record: {name}", ("r.jsonl", *says), {"r.jsonl": content}, args=("report", "r.jsonl"))


def _changed(kind: str, change: Callable[[dict[str, Any]], object]) -> str:
    lines = [deepcopy(line) for _, line in _LINES.values()]
    change(_fields(lines[_LINES[kind][0] - 1], kind))
    return _text(*lines)


def _records() -> Iterator[Command]:
    for place, values in _WRONG.items():
        kind, name = place.split(".")
        for value in values:
            content = _changed(kind, lambda fields, name=name, value=value: fields.update({name: value}))
            shown = value if not isinstance(value, dict) else next(iter(value.values()))
            where = "layer" if isinstance(value, dict) and place == "measurement.data" else name
            yield _record(f"{kind}: {name} {value!r}", content, f"line {_LINES[kind][0]}", where, repr(shown))
    for kind, names in _REQUIRED.items():
        for name in names:
            if (kind, name) == ("step", "step"):
                continue  # then it is no step
            content = _changed(kind, lambda fields, name=name: fields.pop(name))
            yield _record(f"{kind}: no {name}", content, f"line {_LINES[kind][0]}", f"the key '{name}'")
        content = _changed(kind, lambda fields: fields.update({"new_2030": 1}))
        yield _record(f"{kind}: a field of a later version", content, f"line {_LINES[kind][0]}", "'new_2030'")
    for kind in ("run", "event", "measurement", "totals"):
        lines = [{kind: [1]} if name == kind else line for name, (_, line) in _LINES.items()]
        yield _record(f"{kind}: a list", _text(*lines), f"line {_LINES[kind][0]}", "[1]")
    yield _record("empty", "", "line 1", "'run'")
    yield _record("binary", bytes(range(256)), "line 1")
    yield _record("UTF-16", _text(RUN).encode("utf-16"), "line 1")
    yield _record("huge line", _text(RUN, "x" * 1_000_000), "line 2", "xxx")
    yield _record("a number", "7\n", "line 1", "'7'")
    yield _record("a list", "[7]\n", "line 1", "'[7]'")
    yield _record("null", "null\n", "line 1", "'null'")
    yield _record("an empty object", "{}\n", "line 1", "'{}'")
    yield _record("step before run", _text(STEP, RUN), "line 1", "'run'")
    yield _record("another kind", _text(RUN, {"thing": {}}), "line 2", "thing")
    yield _record("torn in the middle", _text(RUN, '{"step": 0, "opt', STEP), "line 2", '{"step": 0, "opt')
    yield _record("two objects in a line", _text(RUN, '{"event": 1}, {"event": 2}'), "line 2")
    yield _record("an escape in a line", _text(RUN, "\x1b[31mred"), "line 2", "\\x1b[31mred")
    yield _record("other text", "Dear diary,\ntoday\n", "line 1", "Dear diary")
    yield _record("an HTML page", "<!DOCTYPE html>\n<html></html>\n", "line 1", "<!DOCTYPE html>")
    yield _record("a CSV file", "step,norm\n0,1.0\n", "line 1", "step,norm")


ROW: dict[str, Any] = {
    "model": "mlp",
    "strategy": "none",
    "seed": 0,
    "diverged": False,
    "diverged_at_step": None,
    "steps": 3,
    "seconds": 0.1,
    "clipped_fraction": 0.0,
    "metrics": {"test_mse": 1.0},
}
RESULTS: dict[str, Any] = {"study": "tiny", "version": "0.1.0", "runs": [ROW]}
_WRONG_IN_ROW: dict[str, tuple[Any, ...]] = {
    "model": _WORD,
    "strategy": _WORD,
    "seed": _COUNT,
    "diverged": _FLAG,
    "diverged_at_step": ("abc", -7, 1.5, True),
    "steps": _COUNT,
    "seconds": ("abc", None, -4.5, True, [1]),
    "clipped_fraction": ("abc", None, -4.5, 1.5, True),
    "metrics": (*_MAP, {"test_mse": "abc"}, {"test_mse": True}, {"test_mse": [1]}),
    "axes": (*_MAP, {"length": None}, {"length": True}, {"length": [1]}),
    "data": _WORD,
}


def _results(name: str, content: Any, *says: str, **files: str) -> Command:
    text = content if isinstance(content, str | bytes) else json.dumps(content, indent=1)
    where = {"o/results.json": text, **{f"o/records/{key}.jsonl": value for key, value in files.items()}}
    return Command("file", f"results.json: {name}", says, where, args=("report", "o"))


def _all_results() -> Iterator[Command]:
    for name, values in _WRONG_IN_ROW.items():
        for value in values:
            shown = value if not isinstance(value, dict) else next(iter(value.values()))
            content = {**RESULTS, "runs": [ROW, {**ROW, name: value}]}
            yield _results(f"{name} {value!r}", content, "o/results.json", "run 2", name, repr(shown))
    for name in ROW:
        content = {**RESULTS, "runs": [{key: value for key, value in ROW.items() if key != name}]}
        yield _results(f"no {name}", content, "o/results.json", "run 1", f"the key '{name}'")
    whole = "o/results.json"
    yield _results("empty", "", whole, "line 1")
    yield _results("garbage", "{{{", whole, "line 1")
    yield _results("binary", bytes(range(256)), whole, "not text")
    yield _results("a list", [1], whole, "[1]")
    yield _results("a number", 7, whole, "7")
    yield _results("null", None, whole, "null")
    yield _results("no runs", {"study": "tiny"}, whole, "'runs'")
    yield _results("no study", {"runs": []}, whole, "'study'")
    yield _results("study a number", {**RESULTS, "study": 7}, whole, "study", "7")
    yield _results("runs an object", {**RESULTS, "runs": {"a": 1}}, whole, "runs", "{'a': 1}")
    yield _results("runs a word", {**RESULTS, "runs": "abc"}, whole, "runs", "'abc'")
    yield _results("a run that is a number", {**RESULTS, "runs": [7]}, whole, "run 1", "7")
    yield _results("the same run twice", {**RESULTS, "runs": [ROW, ROW]}, whole, "run 2", "mlp, none, seed 0")
    yield _results("experiment a word", {**RESULTS, "experiment": "abc"}, whole, "experiment", "'abc'")
    yield _results("experiment not there", {**RESULTS, "experiment": {"class_path": "Nope"}}, whole, "'Nope'")
    yield _results("a field of a later version", {**RESULTS, "new_2030": 1}, whole, "'new_2030'")
    lost = {**RESULTS, "runs": [{**ROW, "diverged": True, "diverged_at_step": 2}]}
    yield _results("its record torn", lost, "o/records/mlp-none-0.jsonl", "line 1", "{{{", **{"mlp-none-0": "{{{\n"})
    yield _results("its record empty", lost, "o/records/mlp-none-0.jsonl", "line 1", **{"mlp-none-0": ""})


CASES = [*_records(), *_all_results()]
