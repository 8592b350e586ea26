"""Calls of the command line."""

from pathlib import Path

import lightning.pytorch  # noqa: F401  (its log handler keeps the stderr of its first import, which must outlive a test)
import pytest

from lightning_clip.cli.main import main


def call(*args: str | Path) -> int:
    """Run a command and return its exit code."""
    try:
        return main([str(arg) for arg in args])
    except SystemExit as end:
        return int(end.code or 0)


def refusal(capsys: pytest.CaptureFixture[str], *args: str | Path) -> str:
    """Run a command with invalid arguments and return its one-line error message."""
    assert call(*args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("lightning-clip: ")
    return line.removeprefix("lightning-clip: ")
