"""`ResultsFolder`: the files of a study, written as its runs finish and read for its report."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from lightning_clip._errors import InputError
from lightning_clip._version import __version__
from lightning_clip.studies.comparison.result import RunKey, RunResult, key_in_words, key_name
from lightning_clip.studies.run_rows import from_row, to_row

try:
    import fcntl
except ModuleNotFoundError:  # Windows: folders are not locked there
    fcntl = None  # type: ignore[assignment]

__all__ = ["ResultsFolder", "StudyResults", "next_free_folder"]


Environment = dict[str, str | int]


class StudyResults(NamedTuple):
    """The content of a results folder.

    Attributes:
        study: The name of the study.
        runs: The results of its finished runs.
        experiment: The configuration of its experiment; `None` for training.
        environments: The machines and versions that the runs come from: one unless the study was resumed elsewhere.
            Empty in files of earlier versions.
    """

    study: str
    runs: list[RunResult]
    experiment: dict[str, Any] | None = None
    environments: Sequence[Environment] = ()


class ResultsFolder:
    """A folder with `results.json`, a record of each run under `records/`, `report.txt` and `figure.png`.

    Args:
        path: The folder. It is created when the first result is written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.records = self.path / "records"
        self.report = self.path / "report.txt"
        self._results = self.path / "results.json"

    def is_used(self) -> bool:
        """Whether the path is a file, or a folder that is not empty."""
        return self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir()))

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Create the folder, and let no other process run a study in it meanwhile; an empty one is removed again.

        Raises:
            InputError: Another process is running a study in this folder.
        """
        new = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDONLY) if fcntl is not None else None
        try:
            if descriptor is not None:
                self._lock(descriptor)
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)
            with suppress(OSError):
                for empty in new or [self.path]:
                    empty.rmdir()

    def discard(self, records: Iterable[Path]) -> None:
        """Remove what a study without a finished run has written, so that it can be started again.

        Args:
            records: The paths of its records.
        """
        for path in (*records, self._results):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.records.rmdir()

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"{self.path}: another process is running a study in this folder; wait for it, or name a new folder"
            ) from error

    def has_results(self) -> bool:
        """Whether the folder contains results."""
        return self._results.exists()

    def record_of(self, key: RunKey) -> Path:
        """Return the path of the step-by-step record of a run."""
        return self.records / f"{key_name(key)}.jsonl"

    def write(
        self,
        study: str,
        runs: Sequence[RunResult],
        *,
        experiment: dict[str, Any] | None = None,
        environments: Sequence[Environment] = (),
    ) -> None:
        """Write all results so far. If that fails, the earlier file stays as it was.

        Args:
            study: The name of the study.
            runs: The results of its finished runs.
            experiment: The configuration of its experiment; `None` for training.
            environments: The machines and versions that the runs come from.

        Raises:
            InputError: The file cannot be written, for instance because the disk is full.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {"study": study, "version": __version__}
        content |= {"environments": list(environments)} if environments else {}
        content |= {"experiment": experiment} if experiment else {}
        content["runs"] = [to_row(run) for run in runs]
        partial = self._results.with_suffix(".json.partial")
        try:
            partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            os.replace(partial, self._results)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise InputError(f"{self._results}: cannot be written: {error.strerror}") from error

    def read(self) -> StudyResults:
        """Read the results.

        Returns:
            The name of the study, the results of its finished runs and its experiment.

        Raises:
            InputError: There are no results, or they cannot be read. The message says why in one line.
        """
        try:
            content = json.loads(self._results.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{self.path}: no results here ({self._results.name}: {error.strerror})") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{self._results}: expected JSON, found a file that is not text") from error
        except json.JSONDecodeError as error:
            raise InputError(f"{self._results}: line {error.lineno}: expected JSON: {error.msg}") from error
        try:
            return _results_of(content)
        except ValueError as error:
            raise InputError(f"{self._results}: {error}") from error


def _results_of(content: Any) -> StudyResults:
    if not isinstance(content, dict):
        shown = json.dumps(content)
        raise ValueError(f"expected the results of `lightning-clip compare`, found {shown:.60}")
    for name, kind, words in (("study", str, "a string"), ("runs", list, "a list")):
        if name not in content:
            raise ValueError(f"expected the results of `lightning-clip compare`, found no key {name!r}")
        if not isinstance(content[name], kind):
            raise ValueError(f"expected {name} to be {words}, found {content[name]!r:.60}")
    experiment = content.get("experiment")
    if experiment is not None and not isinstance(experiment, dict):
        raise ValueError(f"expected experiment to be an object, found {experiment!r:.60}")
    environments = content.get("environments", [])
    if not isinstance(environments, list) or not all(isinstance(one, dict) for one in environments):
        raise ValueError(f"expected environments to be a list of objects, found {environments!r:.60}")
    if unknown := content.keys() - {"study", "version", "runs", "experiment", "environments"}:
        raise ValueError(f"expected no key {min(unknown)!r}, which only a later version of lightning-clip may know")
    runs: dict[RunKey, RunResult] = {}
    for number, row in enumerate(content["runs"], start=1):
        try:
            run = from_row(row)
        except ValueError as error:
            raise ValueError(f"run {number}: expected {error}") from error
        if run.key in runs:
            raise ValueError(f"run {number}: expected each run once, found {key_in_words(run.key)} again")
        runs[run.key] = run
    return StudyResults(content["study"], list(runs.values()), experiment, tuple(environments))


def next_free_folder(parent: Path, name: str) -> Path:
    """Return the first of `name-1`, `name-2`, … that does not exist in a folder."""
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"
