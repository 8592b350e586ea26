"""A record or a comparison as plain data for programs, in a documented and versioned form."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lightning_clip.reports.comparison import Comparison
from lightning_clip.reports.diagnosis.rule import Finding
from lightning_clip.reports.diagnosis.rules import diagnose
from lightning_clip.reports.evidence import Evidence

FORMAT = "lightning-clip record"
"""What `"format"` says."""

VERSION = 1
"""The version of the form: it changes when a key is renamed or removed, not when one is added."""


def record_dict(evidence: Evidence) -> dict[str, Any]:
    """Return everything a report says about one run.

    Args:
        evidence: The record of a run, summarized.

    Returns:
        Strings, numbers, lists and dictionaries that JSON can hold: `"format"`, `"version"`, `"run"`, `"optimizers"`
        (norms, counts and verdict of each), `"parameters"`, `"events"`, `"findings"` (severity, title, detail, remedy,
        kind). What is NaN or infinite is `None`.
    """
    summary = evidence.summary
    return {
        "format": FORMAT,
        "version": VERSION,
        "run": _plain(asdict(evidence.run)),
        "optimizers": [_plain(asdict(part)) for part in summary.optimizers],
        "parameters": [_plain(asdict(one)) for one in summary.parameters],
        "events": [_plain(asdict(event)) for event in summary.events],
        "findings": [finding_dict(finding) for finding in diagnose(evidence)],
    }


def comparison_dict(comparison: Comparison) -> dict[str, Any]:
    """Return everything a comparison says.

    Args:
        comparison: The runs.

    Returns:
        `"format"`, `"version"`, `"runs"` (for each name, what `record_dict` returns), `"numbers"`, `"differences"`
        (from the first run) and `"findings"` with the names of the runs that have them.
    """
    names = list(comparison.names)
    return {
        "format": f"{FORMAT} comparison",
        "version": VERSION,
        "runs": dict(zip(names, map(record_dict, comparison.records), strict=True)),
        "numbers": {key: _plain(dict(zip(names, row, strict=True))) for key, row in comparison.numbers.items()},
        "differences": {
            name: None if difference is None else _plain(asdict(difference))
            for name, difference in zip(names[1:], comparison.differences, strict=True)
        },
        "findings": [
            {**finding_dict(finding), "runs": [name for name, has in zip(names, own, strict=True) if has]}
            for finding, own in comparison.findings
        ],
    }


def finding_dict(finding: Finding) -> dict[str, Any]:
    """Return a finding as plain data, with the severity as a word: `"note"`, `"warning"` or `"critical"`."""
    plain: dict[str, Any] = _plain({key: value for key, value in asdict(finding).items() if key != "unless"})
    return {**plain, "severity": finding.severity.name.lower()}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | None) else str(value)
