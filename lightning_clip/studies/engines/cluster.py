"""`ClusterEngine`: runs on machines that may share no folder with this one."""

import threading
from abc import abstractmethod
from collections.abc import Generator, Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lightning_clip._errors import InputError
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import RunResult
from lightning_clip.studies.engines.engine import Engine, RunCell
from lightning_clip.studies.engines.parallel import in_parallel

_ALONE = threading.Lock()


class ClusterEngine(Engine):
    """Each run in a worker of a cluster; what it has recorded comes back with its result."""

    def run(self, run_cell: RunCell, cells: Sequence[tuple[Cell, Path]], jobs: int) -> Generator[RunResult]:
        """Make every run."""
        calls = ((run_cell, cell, record) for cell, record in cells)
        with closing(in_parallel(_run_away, calls, jobs, backend=self._backend())) as outcomes:
            for result, record, content in outcomes:
                if content is not None:
                    record.write_bytes(content)
                yield result

    @abstractmethod
    def _backend(self) -> Any:
        """The backend of joblib that hands calls to the cluster."""


def need(module: str, package: str, extra: str) -> Any:
    """Import what an engine needs.

    Args:
        module: What to import.
        package: What it comes with.
        extra: The extra of this package that brings it, called as the engine is.

    Returns:
        The module.

    Raises:
        InputError: It is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(
            f'--engine {extra}: {package} is not installed: pip install "lightning-clip[{extra}]"'
        ) from error


def _run_away(run_cell: RunCell, cell: Cell, record: Path) -> tuple[RunResult, Path, bytes | None]:
    """Make a run in a worker: alone, because the threads of a process share its random numbers."""
    with _ALONE, TemporaryDirectory(prefix="lightning-clip-") as folder:
        local = Path(folder) / record.name
        result = run_cell(cell, local)
        return result, record, local.read_bytes() if local.exists() else None
