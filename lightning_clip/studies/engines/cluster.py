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
from lightning_clip.studies.engines.engine import Engine, RunCell, in_parallel

_ALONE = threading.Lock()


class ClusterEngine(Engine):
    """Runs in the workers of a cluster. Each record comes back with its result."""

    def run(self, run_cell: RunCell, cells: Sequence[tuple[Cell, Path]], jobs: int) -> Generator[RunResult]:
        """Execute every run."""
        calls = ((run_cell, cell, record) for cell, record in cells)
        with closing(in_parallel(_run_in_worker, calls, jobs, backend=self._backend())) as outcomes:
            for result, record, content in outcomes:
                if content is not None:
                    record.write_bytes(content)
                yield result

    @abstractmethod
    def _backend(self) -> Any:
        """The joblib backend that sends calls to the cluster."""

    def _import(self, module: str, package: str) -> Any:
        """Import a module that an extra of this package installs; the extra has the name of the engine.

        Args:
            module: The module to import.
            package: The name of the package that contains it.

        Returns:
            The module.

        Raises:
            InputError: The package is not installed.
        """
        try:
            return import_module(module)
        except ModuleNotFoundError as error:
            install = f'pip install "lightning-clip[{self.name}]"'
            raise InputError(f"--engine {self.name}: {package} is not installed: {install}") from error

    def _unreachable(self, address: str, error: Exception) -> InputError:
        """The error for a cluster that does not answer at its address."""
        return InputError(f"--engine {self.name}: no cluster answers at {address}: {error}")


def _run_in_worker(run_cell: RunCell, cell: Cell, record: Path) -> tuple[RunResult, Path, bytes | None]:
    """Execute one run in a worker, one at a time: the threads of a process share its random state."""
    with _ALONE, TemporaryDirectory(prefix="lightning-clip-") as folder:
        local = Path(folder) / record.name
        result = run_cell(cell, local)
        return result, record, local.read_bytes() if local.exists() else None
