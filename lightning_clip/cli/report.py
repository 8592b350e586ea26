"""`report`: the report of finished studies and runs, from their files alone: one run, or several side by side."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_clip._errors import InputError
from lightning_clip.reports.diagnosis.rule import Severity
from lightning_clip.reports.html import MARK, html_page
from lightning_clip.reports.record import RunRecord, load_records
from lightning_clip.reports.text import output_console, to_text
from lightning_clip.studies.results import ResultsFolder
from lightning_clip.studies.story import story


def report(
    paths: Sequence[Path],
    *,
    as_json: bool = False,
    fail_on: Severity | None = None,
    html: Path | None = None,
    figures: Path | None = None,
    width: int | None = None,
    max_parameters: int | None = None,
) -> int:
    """Print the report of a study, of one run, or of several runs side by side.

    Args:
        paths: The folder of a study, or the `.jsonl` records of runs.
        as_json: Whether to print plain data instead of text.
        fail_on: The severity from which a finding is a failure.
        html: A file for the report as an HTML page.
        figures: A folder for the figure, as PNG and SVG.
        width: Characters per line; those of the terminal by default.
        max_parameters: The number of parameters that a report of one run, and the page, list.

    Returns:
        1 if a run has a finding of at least `fail_on`, else 0.

    Raises:
        InputError: The files cannot be read, or contain something else; or a file of somebody else would be lost.
        OSError: There is no such file.
    """
    console = console_of(width)
    folders = [path for path in paths if path.is_dir()]
    if folders:
        if len(paths) > 1 or as_json or fail_on is not None or html is not None or figures is not None:
            raise InputError(
                f"{folders[0]}: the folder of a study has one report, which is text. Name records of runs, for "
                f"instance {next(folders[0].glob('records/*.jsonl'), folders[0] / 'records/…')}."
            )
        folder = ResultsFolder(folders[0])
        console.print(story(folder.read(), folder))
        return 0
    if results := [path for path in paths if path.name == "results.json"]:
        raise InputError(f"{results[0]}: the results of a study; use `lightning-clip report {results[0].parent}`")
    names, records = names_of(paths), load_records(paths)
    comparison = records[0].compare(*records[1:], names=names) if len(records) > 1 else None
    shown = comparison or records[0]
    evidences = [replace(one.evidence, max_parameters=max_parameters) for one in records]
    if html is not None:
        _write_page(html, html_page(names, evidences, comparison))
    if figures is not None:
        _write_figures(figures, "-".join(names)[:100], shown.figure())
    if as_json:
        console.file.write(json.dumps(shown.to_dict(), indent=2, allow_nan=False) + "\n")
    else:
        color = console.is_terminal and not console.no_color
        text = comparison.report() if comparison is not None else records[0].report(max_parameters=max_parameters)
        console.file.write(to_text(text, width=console.width, color=color) + "\n")
    return int(fail_on is not None and _worst(records) >= fail_on)


def console_of(width: int | None) -> Console:
    """A console for standard output.

    Args:
        width: Characters per line; those of the terminal by default.
    """
    console = output_console()
    if width is not None:
        console.width = width
    return console


def names_of(paths: Sequence[Path]) -> list[str]:
    """What to call each record: the name of its file, or its whole path where two files have the same name.

    Args:
        paths: The records.

    Raises:
        InputError: A record is there twice.
    """
    if twice := [path for place, path in enumerate(paths) if path in paths[:place]]:
        raise InputError(f"{twice[0]}: the same record twice; name each once.")
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [os.fspath(path) for path in paths]


def _worst(records: Sequence[RunRecord]) -> int:
    return max((finding.severity for record in records for finding in record.diagnose()), default=0)


def _write_page(path: Path, page: str) -> None:
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace")[:200]:
        raise InputError(f"--html {path}: the file was not written by lightning-clip. Name another one, or delete it.")
    path.write_text(page, encoding="utf-8")


def _write_figures(folder: Path, name: str, figure: Any) -> None:
    for suffix, metadata in ((".png", {"Software": _PROGRAM}), (".svg", {"Creator": _PROGRAM, "Date": None})):
        path = folder / f"{name}{suffix}"
        if path.exists() and _PROGRAM.encode() not in path.read_bytes():
            raise InputError(f"--figures {folder}: {path} was not written by lightning-clip. Delete or rename it.")
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata=metadata)


_PROGRAM = "lightning-clip report"
