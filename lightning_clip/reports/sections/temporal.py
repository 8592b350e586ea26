"""The section on the gradient through time of each recurrent layer."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import add

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from lightning_clip.core.recurrent.temporal_profile import CHUNK_FACTORS, Flow, TemporalProfile
from lightning_clip.reports.diagnosis.temporal import growth_in_words
from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import DASH, count, counted, number
from lightning_clip.reports.sections.chart import BAD
from lightning_clip.reports.sections.tables import headline, pairs

_STYLES = {Flow.EXPLODING: "red", Flow.VANISHING: "yellow", Flow.HEALTHY: "green"}
_SHORTEST = 8
_ONE_RATE = 0.5  # R² below which a rate says little


def temporal(evidence: Evidence) -> Iterator[RenderableType]:
    """How far the gradient of each recurrent layer reaches back through time, and what that means.

    Bars by lag, numbers and verdict of the latest profile, and what has changed since the first.
    """
    for profiles in evidence.profiles.values():
        yield LagChart(profiles[-1], among=len(profiles))
        yield pairs(_numbers(profiles))


@dataclass(frozen=True, slots=True)
class LagBar:
    """A group of adjacent lags.

    Attributes:
        first: The first lag.
        last: The last one.
        value: Their largest norm, relative to lag 0; NaN or infinite where one of them is.
        fraction: Length of the bar, in [0, 1].
    """

    first: int
    last: int
    value: float
    fraction: float

    @property
    def label(self) -> str:
        """For instance `8–15`."""
        return f"{self.first}" if self.first == self.last else f"{self.first}\N{EN DASH}{self.last}"

    def drawn(self, width: int) -> str:
        """The bar in characters.

        Args:
            width: The width of a full bar.
        """
        full, part = divmod(round(self.fraction * width * 8), 8)
        return "█" * full + _EIGHTHS[part].strip()


@dataclass(frozen=True, slots=True)
class LagChart:
    """The gradient by lag, as wide as the console.

    Attributes:
        profile: The profile to draw.
        among: The number of profiles.
    """

    profile: TemporalProfile
    among: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        profile = self.profile
        which = f"the latest of {count(self.among)} profiles, " if self.among > 1 else ""
        yield headline(f"Gradient through time in {profile.layer} ({which}at step {count(profile.step)})")
        if any(map(math.isfinite, profile.norms)):
            yield from self._bars(lag_bars(profile.norms), options.max_width)
        else:
            yield Text(f"  {BAD} NaN or infinite at every lag", style=_STYLES[profile.flow])
        yield Text()

    def _bars(self, bars: Sequence[LagBar], width: int) -> Iterator[Text]:
        values = [f" {number(bar.value)}" if math.isfinite(bar.value) else " NaN or infinite" for bar in bars]
        notes = [_note(self.profile, bar) for bar in bars]
        margin = max(3, *(len(bar.label) for bar in bars))
        longest = max(_SHORTEST, width - 5 - margin - max(map(len, map(add, values, notes))))
        each = f", the largest of {bars[0].last + 1} lags each" if bars[0].last else ""
        yield Text(f"  {'lag':>{margin}}  norm relative to lag 0 (log scale{each})", style="dim", no_wrap=True)
        for bar, value, note in zip(bars, values, notes, strict=True):
            drawn = bar.drawn(longest) if math.isfinite(bar.value) else BAD * longest
            label = (f"  {bar.label:>{margin}} │", "dim")
            yield Text.assemble(label, (drawn, _STYLES[self.profile.flow]), value, (note, "dim"), no_wrap=True)


def _note(profile: TemporalProfile, bar: LagBar) -> str:
    """A note on the horizons that lie within these lags."""
    ends = {"1%": profile.horizon, "99%": profile.span}
    here = [name for name, lag in ends.items() if bar.first <= lag <= bar.last and lag < profile.window - 1]
    return f"  ← {' and '.join(here)} lag" if here and profile.is_finite else ""


def _numbers(profiles: Sequence[TemporalProfile]) -> Iterator[tuple[str, str | Text]]:
    first, latest = profiles[0], profiles[-1]
    yield "Verdict", Text.assemble((latest.flow, f"bold {_STYLES[latest.flow]}"), f", {_meaning(latest)}")
    yield "Growth", _growth(latest)
    yield "Reach", _reach(latest)
    yield "Chunks", _chunks(latest)
    if len(profiles) > 1:
        yield "Change", _change(first, latest)


def _meaning(profile: TemporalProfile) -> str:
    if not profile.is_finite:
        return "it is NaN or infinite: the gradient overflowed, or the weights are NaN or infinite"
    if profile.flow is Flow.EXPLODING:
        return f"{growth_in_words(profile)}: the earliest steps dominate what is learned"
    if profile.flow is Flow.HEALTHY:
        return f"it does not explode, and reaches {_lags(profile)} back"
    if profile.has_weak_rest:
        return f"only a little of it is left beyond lag {count(profile.horizon)}"
    return f"input more than {counted(profile.horizon, 'step')} back contributes almost nothing to learning"


def _growth(profile: TemporalProfile) -> str:
    if math.isnan(profile.growth_rate):
        return "no rate: too few norms are finite and above 1e-25"
    rate = f"{profile.growth_rate:+.3f} per step of lag, R² {profile.r_squared:.2f}"
    if profile.r_squared < _ONE_RATE:
        return f"{rate}: no single rate fits"
    steps = math.log(2) / abs(profile.growth_rate) if profile.growth_rate else math.inf
    return f"{rate}: it {'halves' if profile.growth_rate < 0 else 'doubles'} every {number(steps)} steps"


def _reach(profile: TemporalProfile) -> str:
    if not profile.is_finite:
        return "unknown, because it is NaN or infinite"
    left = f"1% of lag 0 is left at lag {count(profile.horizon)}"
    if profile.horizon == profile.window - 1:
        left = f"more than 1% of lag 0 is left at the last lag, {count(profile.horizon)}"
    return f"{left}; lags up to {count(profile.span)} hold 99% of the sum"


def _lags(profile: TemporalProfile) -> str:
    steps = counted(profile.window, "step")
    return f"all {steps}" if profile.horizon == profile.window - 1 else f"{count(profile.horizon)} of {steps}"


def _chunks(profile: TemporalProfile) -> str:
    if profile.flow is Flow.EXPLODING:
        return "no length is suggested while the gradient explodes"
    if profile.chunk_steps is None:
        return f"at least the {counted(profile.window, 'step')} that were measured"
    least, most = CHUNK_FACTORS
    steps = f"{profile.chunk_steps[0]} to {profile.chunk_steps[1]} steps"
    return f"{steps} for truncated backpropagation, {least} to {most} times the 99% lag"


def _change(first: TemporalProfile, latest: TemporalProfile) -> str:
    flows = f"{first.flow} → {latest.flow}" if first.flow is not latest.flow else f"{latest.flow} as before"
    rates = [DASH if math.isnan(one.growth_rate) else f"{one.growth_rate:+.3f}" for one in (first, latest)]
    return (
        f"since step {count(first.step)}: {flows}, growth {rates[0]} → {rates[1]}, "
        f"1% lag {first.horizon} → {latest.horizon}"
    )


MOST_BARS = 14
"""The largest number of bars; beyond it, adjacent lags share one."""

_DECADES = 8.0
_EIGHTHS = " ▏▎▍▌▋▊▉"


def lag_bars(norms: Sequence[float]) -> list[LagBar]:
    """Group adjacent lags, and scale their norms logarithmically, from eight decades below lag 0.

    Args:
        norms: The norm at each lag.

    Returns:
        A bar for each group of lags; all groups but the last have the same size.
    """
    size = math.ceil(len(norms) / MOST_BARS)
    unit = norms[0] if math.isfinite(norms[0]) and norms[0] > 0 else 1.0
    groups = [norms[start : start + size] for start in range(0, len(norms), size)]
    values = [max(group, key=lambda norm: norm if math.isfinite(norm) else math.inf) / unit for group in groups]
    logs = [math.log10(value) for value in values if math.isfinite(value) and value > 0]
    high = max(logs, default=0.0)
    low = max(min(logs, default=0.0), min(0.0, high) - _DECADES)
    if high - low < 1:  # less than a decade would turn a ripple into a slope
        low = high - 1
    low -= 0.05 * (high - low)  # keeps the smallest bar visible
    return [
        LagBar(start * size, start * size + len(group) - 1, value, _fraction(value, low, high))
        for start, (group, value) in enumerate(zip(groups, values, strict=True))
    ]


def _fraction(value: float, low: float, high: float) -> float:
    if not math.isfinite(value):
        return 1.0
    return max(0.0, (math.log10(value) - low) / (high - low)) if value > 0 else 0.0
