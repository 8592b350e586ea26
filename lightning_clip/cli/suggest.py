"""`suggest`: a threshold from the record of a run, or from a run that is measured and not carried out."""

from collections.abc import Sequence
from pathlib import Path

from lightning_clip._errors import InputError
from lightning_clip.cli.report import console_of
from lightning_clip.reports.record import load_record
from lightning_clip.reports.sections.suggestion import suggested
from lightning_clip.reports.suggestion import Suggestion, suggestions_of


def suggest(path: Path, *, width: int | None = None) -> int:
    """Print what the record of a run suggests.

    Args:
        path: The `.jsonl` record.
        width: Characters per line; those of the terminal by default.

    Returns:
        The exit code.

    Raises:
        InputError: The file contains something else, or no step.
        OSError: There is no such file.
    """
    if path.is_dir() or path.suffix in (".yaml", ".yml"):
        kind = "a folder" if path.is_dir() else "a configuration"
        raise InputError(
            f"suggest {path}: {kind}. Name the .jsonl record of a run, or a configuration as --config FILE."
        )
    record = load_record(path)
    show(suggestions_of(record.history, record.run), str(path), width=width)
    return 0


def show(suggestions: Sequence[Suggestion], name: str, *, width: int | None = None) -> None:
    """Print suggestions.

    Args:
        suggestions: One for each optimizer.
        name: What was measured, quoted in the error message.
        width: Characters per line; those of the terminal by default.

    Raises:
        InputError: There is nothing to print.
    """
    if not suggestions:
        raise InputError(f"suggest {name}: there is no optimizer step whose norm could be measured.")
    console_of(width).print(suggested(suggestions))
