"""Programs in a Python of their own, forked from one that has imported Lightning and nothing of ours.

Importing Lightning takes longer than most of what is tested here, so it is done once and not by each program.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

_CONTEXT: Any = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
_CONTEXT.set_forkserver_preload(["lightning.pytorch"])


@dataclass
class Program:
    """A program that has been started; its output goes to pipes, which end with the last process that holds them.

    Attributes:
        pid: Its process, and the number of its process group.
        returncode: What it has ended with; `None` before `communicate`, and the negative signal if it was killed.
    """

    process: Any
    pipes: tuple[Any, Any]
    returncode: int | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self) -> str:
        """The next line of its output."""
        return self.pipes[0].readline()

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        """Wait until no process holds the pipes, and return the rest of the output and the errors.

        Raises:
            subprocess.TimeoutExpired: It took too long; its process group is killed.
        """
        late = threading.Timer(timeout, self.kill_group)
        late.start()
        rest = ["", ""]

        def read(which: int) -> None:
            rest[which] = self.pipes[which].read()

        readers = [threading.Thread(target=read, args=(which,)) for which in (0, 1)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        self.process.join()
        in_time = late.is_alive()
        late.cancel()
        self.returncode = self.process.exitcode
        if not in_time:
            raise subprocess.TimeoutExpired(str(self.pid), timeout, *rest)
        return rest[0], rest[1]

    def kill_group(self) -> None:
        """End it and all that it has started, if they are still there."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it in any case, and let go of its pipes."""
        self.kill_group()
        self.process.join()
        for pipe in self.pipes:
            pipe.close()


def start(argv: Sequence[str], cwd: Path, **environment: str) -> Program:
    """Start `python argv`: a path to a script, `-m` and a module, or `-c` and code, each with its arguments.

    Args:
        argv: As on the command line.
        cwd: The folder in which it runs.
        **environment: Variables beside those of this process.

    Returns:
        The program.
    """
    pipes = [_CONTEXT.Pipe(duplex=False) for _ in range(2)]
    writers = [writer for _, writer in pipes]
    arguments = ([str(part) for part in argv], str(cwd), {**os.environ, **environment}, writers)
    process = _CONTEXT.Process(target=_be, args=arguments)
    process.start()
    for writer in writers:
        writer.close()
    output, errors = (open(os.dup(reader.fileno()), encoding="utf-8") for reader, _ in pipes)  # noqa: SIM115
    return Program(process, (output, errors))


def run(
    argv: Sequence[str], cwd: Path, *, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; arguments as for `start`.

    Returns:
        Its exit code, output and errors.
    """
    program = start(argv, cwd, **environment)
    try:
        output, errors = program.communicate(timeout)
    finally:
        program.close()
    assert program.returncode is not None
    return subprocess.CompletedProcess(list(argv), program.returncode, output, errors)


def prepare() -> None:
    """Start the process from which programs are forked: whoever else forks from it finds Lightning imported."""
    forkserver.ensure_running()


def stop() -> None:
    """End the process from which programs are forked, and wait for it."""
    forkserver._forkserver._stop()


def _be(argv: list[str], cwd: str, environment: dict[str, str], writers: list[Any]) -> None:
    """Become the program."""
    os.setsid()
    for number, writer in enumerate(writers, start=1):
        os.dup2(writer.fileno(), number)
        writer.close()
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (for as long as the program lives)
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    try:
        _run_as_main(argv)
    finally:  # as a Python that has not been forked does at its end
        threading._shutdown()
        atexit._run_exitfuncs()


def _run_as_main(argv: list[str]) -> None:
    if argv[0] == "-c":
        sys.argv = ["-c", *argv[2:]]
        exec(compile(argv[1], "<string>", "exec"), {"__name__": "__main__"})
    elif argv[0] == "-m":
        sys.argv = argv[1:]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = argv
        sys.path.insert(0, os.path.dirname(argv[0]))
        runpy.run_path(argv[0], run_name="__main__")
