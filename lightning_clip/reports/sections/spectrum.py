"""The section on recurrent weights and units."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import DASH, count, number, percent
from lightning_clip.reports.sections.tables import NamedTable, pairs
from lightning_clip.reports.spectrum_summary import Block, Proof, SpectrumSummary, halving_steps

_STYLES = {Proof.NOT_FINITE: "bold red", Proof.EXPLODED: "bold red", Proof.MAY_EXPLODE: "yellow"}
_PLAIN = (
    "σ max below the bound proves that gradients vanish; at the bound, that they cannot explode. Above it, neither "
    "σ max nor ρ proves anything."
)
_GATED = (
    "σ max and ρ of one gate prove nothing, because the state of an LSTM or a GRU also bypasses the gates: "
    "TemporalGradientMonitor measures how fast gradients grow."
)
_GATES = (
    "Half-life: steps until half of a state is left, from the mean gate over all units and from the slowest unit. A "
    "gate is saturated below 0.05 or above 0.95."
)
_SHARES = {
    "saturated_fraction": ("Saturated", "of the states of tanh units are beyond ±0.95"),
    "dead_fraction": ("Dead units", "of the ReLU units are 0 throughout the batch"),
}
_GATE_COLUMNS: dict[str, Callable[[Mapping[str, float]], str]] = {
    "forget gate": lambda unit: number(unit.get("forget_gate_mean")),
    "update gate": lambda unit: number(unit.get("update_gate_mean")),
    "half-life": lambda unit: _half_life(unit, "mean"),
    "slowest": lambda unit: _half_life(unit, "max"),
    "saturated": lambda unit: percent(unit.get("saturated_gate_fraction")),
}


def spectrum(evidence: Evidence) -> Iterator[RenderableType]:
    """Tables of recurrent weights and gates, and a few lines on units, where a `RecurrentSpectrumMonitor` ran."""
    summary = evidence.spectrum
    if summary is not None:
        yield _weights(summary)
        units = summary.units.values()
        known = [name for name, show in _GATE_COLUMNS.items() if any(show(unit) != DASH for unit in units)]
        if known:
            yield _gates(summary, known)
        lines = list(_lines(summary))
        if lines:
            yield pairs(lines)


def _weights(summary: SpectrumSummary) -> NamedTable:
    blocks = summary.blocks
    first, latest = (count(step) for step in summary.steps)
    gated, plain = any(block.gate for block in blocks), any(not block.gate for block in blocks)
    telling = any(block.proof is not Proof.NOTHING for block in blocks)
    rows = []
    for block in blocks:
        cells: list[str | Text] = [*([block.gate] if gated else []), *_spectra(block), number(block.bound)]
        rows.append((block.weights, [*cells, *([_proof(block)] if telling else [])]))
    return NamedTable(
        title="Recurrent weights " + (f"(step {first} → step {latest})" if first != latest else f"at step {first}"),
        name="Parameter",
        headings=[*(["gate"] if gated else []), "σ max", "ρ", "bound", *(["gradients"] if telling else [])],
        rows=rows,
        importance=[-math.inf if math.isnan(block.sigma_max[1]) else block.sigma_max[1] for block in blocks],
        rest=" with smaller σ max",
        left=["gate", "gradients"],
        notes=[note for note, applies in ((_PLAIN, plain), (_GATED, gated)) if applies],
    )


def _gates(summary: SpectrumSummary, known: Sequence[str]) -> NamedTable:
    rows = [(name, [_GATE_COLUMNS[heading](unit) for heading in known]) for name, unit in summary.units.items()]
    gated = [(name, cells) for name, cells in rows if any(cell != DASH for cell in cells)]
    return NamedTable(title="Gates", name="Parameter", headings=known, rows=gated, notes=[_GATES])


def _lines(summary: SpectrumSummary) -> Iterator[tuple[str, str]]:
    for share, (name, meaning) in _SHARES.items():
        found = {weights: unit[share] for weights, unit in summary.units.items() if share in unit}
        if found:
            yield name, _worst(found, meaning)
    if any(share > 0 for share in summary.denormal.values()):
        yield "Denormals", _worst(summary.denormal, "of the gradient at the input of a layer is too small for float32")


def _worst(found: Mapping[str, float], meaning: str) -> str:
    worst = max(found, key=lambda name: found[name])
    text = f"{percent(found[worst])} {meaning}"
    return text if len(found) == 1 else f"{text} in the worst layer, {worst}"


def _spectra(block: Block) -> list[str]:
    courses = [(number(before), number(now)) for before, now in (block.sigma_max, block.spectral_radius)]
    return [now if before == now else f"{before} → {now}" for before, now in courses]


def _proof(block: Block) -> Text:
    if block.proof is Proof.NOTHING:
        return Text(DASH)
    if block.half_life is not None:
        return Text(f"halve in ≤ {number(block.half_life)} steps")
    return Text(block.proof.value, _STYLES.get(block.proof, ""))


def _half_life(unit: Mapping[str, float], which: str) -> str:
    kept = [unit[f"{gate}_gate_{which}"] for gate in ("forget", "update") if f"{gate}_gate_{which}" in unit]
    return number(halving_steps(kept[0]) if kept else None)
