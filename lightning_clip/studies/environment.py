"""`environment`: the machine and the versions that the numbers of a study come from."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lightning_clip._version import __version__

_PACKAGES = ("torch", "lightning", "numpy")


def environment() -> dict[str, str | int]:
    """Return what rounding depends on: the CPU, the versions and the number of threads.

    A run that diverges amplifies the last bit, so its numbers repeat only where all of these are the same.

    Returns:
        Words and numbers by name. On a cluster, those of the machine that started the study.
    """
    found: dict[str, str | int] = {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "threads_per_run": 1,  # set by `run_cell`
        "system": platform.platform(),
        "python": platform.python_version(),
        "lightning_clip": __version__,
    }
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # Lightning, for instance, is also distributed as pytorch_lightning
            found[name] = "unknown"
    return found


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
