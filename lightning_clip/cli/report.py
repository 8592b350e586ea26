"""`report`: reprint the report of a finished study or run, from its files alone."""

from pathlib import Path

from lightning_clip.reports.record import load_record
from lightning_clip.reports.text import output_console
from lightning_clip.studies.results import ResultsFolder
from lightning_clip.studies.story import story


def report(path: Path) -> None:
    """Print the report of a study or of one run.

    Args:
        path: The folder of the study, or the `.jsonl` record of the run.

    Raises:
        InputError: The files cannot be read, or contain something else.
        OSError: There is no such file.
    """
    console = output_console()
    if path.is_dir():
        folder = ResultsFolder(path)
        console.print(story(folder.read(), folder))
    else:
        console.print(load_record(path).report())
