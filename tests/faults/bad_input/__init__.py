"""Bad input of every kind, as tables of cases. `python -m tests.faults.bad_input` tries them all and prints a table."""

from collections import Counter

from tests.faults.bad_input import checkpoints, cli, constructors, files, fits, studies, trainings
from tests.faults.bad_input.case import Case, problems

CASES: list[Case] = [
    *cli.CASES,
    *files.CASES,
    *studies.CASES,
    *fits.CASES,
    *checkpoints.CASES,
    *constructors.CASES,
    *trainings.CASES,
]


def count_by_area() -> dict[str, int]:
    """The number of cases of each area."""
    return dict(Counter(case.area for case in CASES))


__all__ = ["CASES", "Case", "count_by_area", "problems"]
