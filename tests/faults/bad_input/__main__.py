"""Tries every case, or those whose name contains all words that are given; prints how many failed, by area."""

import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.bad_input import CASES, problems

tried: Counter[str] = Counter()
failed: Counter[str] = Counter()
words = sys.argv[1:]
for case in (case for case in CASES if all(word in f"{case.area}: {case.name}" for word in words)):
    with TemporaryDirectory() as folder:
        found = problems(case, Path(folder))
    tried[case.area] += 1
    failed[case.area] += bool(found)
    if found:
        sys.stderr.write(f"{case.area}: {case.name}\n" + "".join(f"    {text}\n" for text in found))
for area, count in tried.items():
    sys.stdout.write(f"{area}\t{count}\t{failed[area]}\n")
