"""`report_of`: the report of a replay."""

import math
from collections.abc import Iterator

from rich.console import RenderableType
from rich.panel import Panel
from rich.text import Text

from lightning_clip.replays.result import StepTaken
from lightning_clip.replays.samples import SampleNorm
from lightning_clip.reports.formats import DASH, TIMES, bar, count, counted, listed_briefly, number, percent
from lightning_clip.reports.sections.tables import NamedTable, pairs
from lightning_clip.reports.text import Report

_SHOWN_SAMPLES = 5
_SHOWN_NUMBERS = 8
_SHOWN_STEPS = 12
_BAR = 24


def report_of(replay: StepTaken) -> Report:
    """Return the report of a replay.

    Args:
        replay: What was found out.
    """
    return Report(*_head(replay), *_samples(replay), *_worst(replay), *_through_time(replay), *_outcomes(replay))


def _head(replay: StepTaken) -> Iterator[RenderableType]:
    capture = replay.capture
    batch = count(capture.batch)
    if capture.first_batch != capture.batch:
        batch = f"{count(capture.first_batch)}{DASH}{batch}"
    place = f"step {count(capture.step)} · epoch {count(capture.epoch)} · batch {batch}"
    if capture.chunks is not None:
        first, last = capture.chunks
        place += f" · chunk {last}" if first == last else f" · chunks {first}{DASH}{last}"
    rows: list[tuple[str, str | Text]] = [
        ("Step", place),
        ("Model", f"{capture.model}, {capture.optimizer_name} (optimizer {capture.optimizer}), {capture.precision}"),
        ("Loss", _value(capture.loss)),
        ("Norm", _norm_in_words(replay)),
        ("Replayed", _verdict(replay)),
    ]
    if replay.first_non_finite is not None:
        name, what = replay.first_non_finite
        rows.append(("NaN or inf", f"first in the {what} of {name}"))
    rows += [("Note", note) for note in replay.notes]
    yield Panel(Text(f"Bad step: {capture.reason}", "bold"), expand=False, padding=(0, 1))
    yield pairs(rows)


def _norm_in_words(replay: StepTaken) -> str:
    known = sorted(replay.capture.norms_before)
    text = _value(replay.capture.norm)
    if known and math.isfinite(replay.capture.norm):
        text += f", {number(replay.capture.norm / known[len(known) // 2])} {TIMES} the median of the steps before"
    return text


def _verdict(replay: StepTaken) -> str:
    if replay.is_exact:
        return "loss and norm equal the recorded ones, bit for bit"
    if not math.isfinite(replay.difference):
        return f"NOT the same step: the norm is {_value(replay.norm)} now, {_value(replay.capture.norm)} in the record"
    return f"loss and norm differ from the recorded ones by {percent(replay.difference)} at most"


def _samples(replay: StepTaken) -> Iterator[RenderableType]:
    if replay.worst is None:
        return
    total = math.hypot(*(one.norm for one in replay.samples))
    ranked = list(replay.ranked())
    rows = []
    for one in ranked[:_SHOWN_SAMPLES]:
        share = one.norm**2 / total**2 if 0 < total < math.inf else math.nan
        rows.append((_name(one, replay), (count(one.position), _value(one.norm), percent(share))))
    rest = len(ranked) - len(rows)
    notes = [f"… and {counted(rest, 'other sample')}, at most {_value(ranked[len(rows)].norm)}"] if rest > 0 else []
    title = f"Gradient of each sample alone ({replay.how})"
    yield NamedTable(title, "Sample", ("position", "norm", "share"), rows, notes=notes)


def _name(one: SampleNorm, replay: StepTaken) -> str:
    name = "unknown" if one.index is None else count(one.index)
    return name if len(replay.capture.batches) == 1 else f"{name} (batch {replay.capture.first_batch + one.batch})"


def _worst(replay: StepTaken) -> Iterator[RenderableType]:
    if replay.worst is None:
        return
    yield Text(f"  Worst sample: {_name(replay.worst, replay)}, position {replay.worst.position}", style="bold")
    yield pairs((name.removeprefix("batch."), _numbers(values)) for name, values in replay.values.items())
    squares = {name: norm**2 for name, norm in replay.worst_norms.items()}
    total = sum(squares.values())
    rows = []
    for name, norm in sorted(
        replay.worst_norms.items(), key=lambda pair: -pair[1] if pair[1] == pair[1] else -math.inf
    ):
        gates = replay.gates.get(name, {})
        largest = max(gates, key=lambda gate: gates[gate], default="")
        share = squares[name] / total if 0 < total < math.inf else math.nan
        rows.append((name, (_value(norm), percent(share), largest)))
    has_gates = bool(replay.gates)
    headings = ("norm", "share", "largest gate") if has_gates else ("norm", "share")
    cells = [(name, row if has_gates else row[:2]) for name, row in rows]
    yield NamedTable("Its gradient by parameter", "Parameter", headings, cells, left=("largest gate",))


def _numbers(values: list[float]) -> str:
    shown = ", ".join(_value(value) for value in values[:_SHOWN_NUMBERS])
    finite = [value for value in values if math.isfinite(value)]
    if len(values) <= _SHOWN_NUMBERS:
        return shown
    spread = f"{number(min(finite))} to {number(max(finite))}" if finite else "none finite"
    return f"{shown}, … ({counted(len(values), 'number')}, {spread})"


def _through_time(replay: StepTaken) -> Iterator[RenderableType]:
    for name, norms in replay.by_step.items():
        every = max(1, math.ceil(len(norms) / _SHOWN_STEPS))
        blocks = [range(first, min(first + every, len(norms))) for first in range(0, len(norms), every)]
        largest = [max((norms[step] for step in block), key=_badness) for block in blocks]
        top = max((norm for norm in largest if math.isfinite(norm)), default=0.0)
        rows: list[tuple[str, tuple[str | Text, ...]]] = []
        for block, norm in zip(blocks, largest, strict=True):
            steps = f"{block[0]}" if len(block) == 1 else f"{block[0]}{DASH}{block[-1]}"
            length = norm / top if top > 0 and math.isfinite(norm) else 0.0
            rows.append((steps, (count(len(norms) - 1 - block[-1]), _value(norm), Text(bar(length, _BAR)))))
        title = f"Its gradient at the inputs of {name}, by time step"
        yield NamedTable(title, "Step", ("lag", "norm", ""), rows, left=("",))


def _outcomes(replay: StepTaken) -> Iterator[RenderableType]:
    kinds: dict[str, list[tuple[str, float]]] = {"skipped": [], "clipped": [], "unchanged": [], "refused": []}
    for one in replay.outcomes:
        kinds[one.verdict].append((one.strategy.partition("(")[0], one.norm_after))
    rows = [(name, (_value(after),)) for name, after in sorted(kinds["clipped"], key=lambda pair: pair[1])]
    notes = [
        f"{verdict.capitalize()} by {listed_briefly([name for name, _ in kinds[verdict]])}."
        for verdict in ("skipped", "unchanged")
        if kinds[verdict]
    ]
    notes += [f"Not asked: {one.reason}" for one in replay.outcomes if one.verdict == "refused"]
    seen = len(replay.capture.norms_before)
    title = f"What each strategy would have done (adaptive ones have seen {counted(seen, 'norm')})"
    yield NamedTable(title, "Clipped by", ("norm after",), rows, notes=notes)


def _value(value: float) -> str:
    return "NaN" if math.isnan(value) else number(value)


def _badness(norm: float) -> float:
    return norm if math.isfinite(norm) else math.inf
