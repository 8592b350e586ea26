"""`report`: print the report of a finished study or run again, from its files alone."""

from pathlib import Path

from rich.console import Console

from lightning_clip.cli.parser import OneLineParser
from lightning_clip.reports.record import load_record
from lightning_clip.studies.results import ResultsFolder
from lightning_clip.studies.story import story


def run(args: list[str]) -> int:
    """Run the command.

    Args:
        args: The command and its options.

    Returns:
        The exit code.
    """
    parser = OneLineParser(prog="lightning-clip report", description="Print a report again, from files alone.")
    parser.add_argument("path", type=str, help="a folder that compare has written, or the .jsonl record of one run")
    report(Path(parser.parse_args(args[1:]).path))
    return 0


def report(path: Path) -> None:
    """Print the report of a study's folder, or of one run's record.

    Args:
        path: The folder, or the `.jsonl` file.

    Raises:
        InputError: There is nothing to report, or it cannot be read.
        OSError: There is no such file.
    """
    console = Console()
    if path.is_dir():
        folder = ResultsFolder(path)
        console.print(story(folder.read(), folder))
    else:
        console.print(load_record(path).report())
