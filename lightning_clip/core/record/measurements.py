"""`Measurement`: one sample that a monitor took; `Measurements`: the samples of a run in bounded memory."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Measurement:
    """A sample that a monitor took, as plain numbers and strings.

    Attributes:
        step: The number of optimizer steps completed before the sample.
        kind: What was measured, for instance `"temporal-gradient"`.
        data: Numbers, strings, and lists of either, by name.
    """

    step: int
    kind: str
    data: dict[str, float | str | list[float] | list[str]] = field(default_factory=dict)


class Measurements:
    """The first measurement of each kind, and the latest ones.

    Args:
        latest: The number of measurements of each kind to keep besides the first.

    Example:
        >>> measurements = Measurements(latest=2)
        >>> for step in range(0, 500, 100):
        ...     measurements.add(Measurement(step, "temperature", {"celsius": 20.0}))
        >>> [measurement.step for measurement in measurements.of("temperature")]
        [0, 300, 400]
    """

    def __init__(self, latest: int = 200) -> None:
        self._latest = latest
        self._first: dict[str, Measurement] = {}
        self._later: dict[str, deque[Measurement]] = {}

    def __len__(self) -> int:
        return len(self._first) + sum(len(later) for later in self._later.values())

    def __iter__(self) -> Iterator[Measurement]:
        """Iterate over all kinds in the order of `kinds`."""
        for kind in self._first:
            yield from self.of(kind)

    @property
    def kinds(self) -> list[str]:
        """The kinds measured so far, in the order of their first measurement."""
        return list(self._first)

    def add(self, measurement: Measurement) -> None:
        """Add a measurement; if there are too many of its kind, the oldest after the first is dropped.

        Args:
            measurement: A measurement that is later than all others of its kind.
        """
        if measurement.kind in self._first:
            self._later[measurement.kind].append(measurement)
        else:
            self._first[measurement.kind] = measurement
            self._later[measurement.kind] = deque(maxlen=self._latest)

    def of(self, kind: str) -> list[Measurement]:
        """Return the measurements of one kind.

        Args:
            kind: The kind; see `Measurement.kind`.

        Returns:
            The first and the latest measurements, in order; empty if there are none.
        """
        return [self._first[kind], *self._later[kind]] if kind in self._first else []

    def state_list(self) -> list[dict[str, Any]]:
        """Return plain numbers, strings and lists, loadable with `weights_only=True`."""
        return [asdict(measurement) for measurement in self]

    def load_state_list(self, state: Sequence[dict[str, Any]]) -> None:
        """Restore what `state_list` returned."""
        self._first.clear()
        self._later.clear()
        for fields in state:
            self.add(Measurement(**fields))
