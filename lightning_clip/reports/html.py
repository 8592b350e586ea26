"""`html_page`: a record, or several side by side, as one HTML file that needs nothing else."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

from lightning_clip.reports.comparison import Comparison
from lightning_clip.reports.diagnosis.rule import Finding
from lightning_clip.reports.diagnosis.rules import diagnose
from lightning_clip.reports.evidence import Evidence
from lightning_clip.reports.formats import DASH, count, duration, number, percent
from lightning_clip.reports.modules import MANY_PARAMETERS, by_module
from lightning_clip.reports.summary import ParameterSummary

MARK = "<!-- written by lightning-clip -->"
"""The second line of every page, by which a file of ours is known."""

_NO_REQUESTS = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)
_MOST_PARAMETERS = 200
_MOST_MODULES = 24
_WIDTH = 100
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #8884; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; min-width: 8ch; overflow-wrap: break-word; }
.words td, .words th { text-align: left; vertical-align: top; } .words td:last-child { overflow-wrap: anywhere; }
.finding { border-left: .4rem solid; padding: .2rem 1rem; margin: 1rem 0; }
.critical { border-color: #c0392b; } .warning { border-color: #e67e22; } .note { border-color: #2980b9; }
.finding h3 { margin: .2rem 0; } .finding p { margin: .2rem 0; }
figure { margin: 1rem 0; padding: .5rem; border-radius: .3rem; background: #fff; overflow-x: auto; }
figure svg { width: 100%; min-width: 42rem; max-width: 66rem; height: auto; }
figure svg text, figure svg tspan { font-family: "DejaVu Sans", Verdana, sans-serif !important; }
@media (prefers-color-scheme: dark) { figure { filter: brightness(.85); } }
pre { overflow-x: auto; font: 13px/1.25 ui-monospace, monospace; }
"""


def html_page(names: Sequence[str], records: Sequence[Evidence], comparison: Comparison | None = None) -> str:
    """Show one record, or several side by side, as an HTML page without scripts or references to other files.

    Pictures are drawn if matplotlib is installed.

    Args:
        names: What each run is called.
        records: The evidence of each run.
        comparison: The same runs side by side, where there are several.

    Returns:
        The page.
    """
    title = f"{'Gradient report:' if comparison is None else 'Comparison of'} {', '.join(names)}"
    parts = [f"<h1>{escape(title)}</h1>"]
    if comparison is not None:
        parts += _comparison(comparison)
    for name, evidence in zip(names, records, strict=True):
        parts += _run(name if len(records) > 1 else "", evidence)
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    meta = f'<meta name="viewport" content="width=device-width, initial-scale=1">{_NO_REQUESTS}'
    body = "\n".join(parts)
    return f'<!doctype html>\n{MARK}\n<html lang="en"><head>{head}{meta}</head><body>\n{body}\n</body></html>\n'


def in_a_frame(page: str) -> str:
    """Wrap a page for a notebook, whose own style it leaves alone.

    Args:
        page: The result of `html_page`.
    """
    return f'<iframe style="width: 100%; height: 40rem; border: 0" srcdoc="{escape(page)}"></iframe>'


def _run(name: str, evidence: Evidence) -> Iterable[str]:
    run, summary = evidence.run, evidence.summary
    if name:
        yield f"<h2>{escape(name)}</h2>"
    strategy = run.brief_strategy or run.strategy
    facts = {"Model": run.model, "Strategy": strategy, "Optimizer": run.optimizer, "Steps": count(summary.steps)}
    facts["Time"] = duration(run.seconds) if run.seconds is not None else ""
    yield _table([], [[key, value] for key, value in facts.items() if value], kind="words")
    found = diagnose(evidence)
    yield "<h2>Diagnosis</h2>" if not name else "<h3>Diagnosis</h3>"
    yield from map(_finding, found)
    if not found:
        yield "<p>Nothing unusual.</p>"
    if summary.steps:
        yield _picture(lambda: _plot_run(evidence))
    if len(summary.parameters) > MANY_PARAMETERS and len(summary.optimizers) == 1:
        yield _table(
            ["Module", "parameters", "elements", "share"],
            [
                [
                    one.name,
                    count(one.parameters),
                    DASH if one.elements is None else count(one.elements),
                    percent(one.share),
                ]
                for one in by_module(summary.parameters, at_most=_MOST_MODULES)
            ],
        )
    if summary.parameters:
        yield _parameters(summary.parameters, evidence.max_parameters or _MOST_PARAMETERS)
    if summary.events:
        events = [[event.kind, count(event.step), event.message] for event in summary.events]
        yield _table(["Event", "step", "what happened"], events, kind="words")
    yield f"<details><summary>The report of the terminal</summary><pre>{escape(_as_text(evidence))}</pre></details>"


def _parameters(parameters: Sequence[ParameterSummary], most: int) -> str:
    rows = [
        [
            one.name,
            DASH if one.elements is None else count(one.elements),
            number(one.median),
            number(one.max),
            percent(one.share),
            percent(one.clipped_fraction),
        ]
        for one in parameters[:most]
    ]
    head = ["Parameter", "elements", "median norm", "largest norm", "share", "clipped"]
    return _table(head, rows, more=len(parameters) - most)


def _comparison(comparison: Comparison) -> Iterable[str]:
    from lightning_clip.reports.sections.side_by_side import number_rows, where_they_part

    yield from (f"<p>{escape(sentence)}</p>" for sentence in where_they_part(comparison))
    yield _picture(lambda: _plot_comparison(comparison))
    yield _table(["", *comparison.names], list(number_rows(comparison)))
    findings = list(map(list, comparison.finding_rows()))
    yield _table(["Finding", *comparison.names], findings) if findings else "<p>No run has a finding.</p>"


def _finding(finding: Finding) -> str:
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in (finding.detail, f"→ {finding.remedy}"))
    if finding.code:
        paragraphs += f"<pre>{escape(chr(10).join(finding.code))}</pre>"
    kind = finding.severity.name.lower()
    return f'<div class="finding {kind}"><h3>{escape(finding.title)}</h3>{paragraphs}</div>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, more: int = 0, kind: str = "numbers") -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"] if head else []
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    rest = f"<p>… and {count(more)} more.</p>" if more > 0 else ""
    return f'<div class="table {kind}"><table>{"".join(lines)}</table></div>{rest}'


def _picture(plot: Callable[[], Any]) -> str:
    from lightning_clip.reports.figures.svg import svg_of

    try:
        figure = plot()
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        return f"<p>{escape(str(error))}</p>"
    return f"<figure>{svg_of(figure)}</figure>"


def _plot_run(evidence: Evidence) -> Any:
    from lightning_clip.reports.figures.run import plot_report

    return plot_report(evidence.history, evidence.run)


def _plot_comparison(comparison: Comparison) -> Any:
    from lightning_clip.reports.figures.side_by_side import plot_records

    return plot_records(comparison)


def _as_text(evidence: Evidence) -> str:
    from lightning_clip.reports.console import report_on
    from lightning_clip.reports.text import to_text

    return to_text(report_on(evidence), width=_WIDTH)
