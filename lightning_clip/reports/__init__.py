"""What people see: numbers, findings, terminal reports and figures of a run. rich and matplotlib load on first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_clip.reports.comparison import render_comparison
    from lightning_clip.reports.console import render_report
    from lightning_clip.reports.diagnosis import Finding, Severity, diagnose
    from lightning_clip.reports.figures import plot_report
    from lightning_clip.reports.summary import Summary, summarize
    from lightning_clip.reports.text import to_text

__all__ = [
    "Finding",
    "Severity",
    "Summary",
    "diagnose",
    "plot_report",
    "render_comparison",
    "render_report",
    "summarize",
    "to_text",
]

_HOMES = {
    "Finding": "diagnosis",
    "Severity": "diagnosis",
    "Summary": "summary",
    "diagnose": "diagnosis",
    "plot_report": "figures",
    "render_comparison": "comparison",
    "render_report": "console",
    "summarize": "summary",
    "to_text": "text",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
