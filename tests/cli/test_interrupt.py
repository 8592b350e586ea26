"""A study that is interrupted: what it leaves behind, and how it resumes."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.support.command import call
from tests.support.fresh import Program, prepare, start
from tests.support.studies import timeless_runs, written_study


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# The program with a loky that forks its workers, so that they need not import Lightning again.
FORKING = (
    "import sys; from tests.support.clusters import forking_loky\n"
    "from lightning_clip.cli import main\n"
    "with forking_loky(): sys.exit(main())"
)


@contextmanager
def started_study(config: Path, *options: str, runs: int, forking: bool = False) -> Iterator[Program]:
    """Start a study of three runs in its own process group, and wait until some have finished; the others never end."""
    program_as = ["-c", FORKING] if forking else ["-m", "lightning_clip"]
    command = [*program_as, "compare", "--config", str(config), *options]
    program = start(command, Path.cwd(), WAIT_FROM_SEED=str(runs))
    try:
        assert [program.line()[:5] for _ in range(runs)] == [f"[{n}/3]" for n in range(1, runs + 1)]
        yield program
    finally:
        program.close()


@pytest.fixture(scope="module")
def long_study(tmp_path_factory):
    """A study whose runs may be made to last, and its results."""
    folder = tmp_path_factory.mktemp("long")
    norm, waiting = {"class_path": "lightning_clip.NormClip"}, {"class_path": "tests.support.studies.WaitingMLP"}
    config = written_study(folder, strategies={"norm": norm}, models={"mlp": waiting}, seeds=3)
    assert call("compare", "--config", config, "--jobs", "2", "--output", folder / "whole") == 0
    return config, timeless_runs(folder / "whole")


@pytest.mark.parametrize(
    ("jobs", "number", "code"),
    [
        (1, signal.SIGTERM, 143),
        (2, signal.SIGINT, 130),
        pytest.param(1, signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(2, signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_study_can_be_finished(long_study, jobs, number, code):
    """Ctrl-C or SIGTERM keeps the finished runs, says how to resume and leaves no process; resuming changes nothing."""
    config, whole = long_study
    with started_study(config, "--jobs", str(jobs), "--output", "out", runs=jobs) as program:
        os.killpg(program.pid, number)  # as terminals and schedulers do: to the program and its workers, busy or not
        output, error = program.communicate(timeout=60)  # ends when no process holds the pipe any more
    done = timeless_runs(Path("out"))
    assert (program.returncode, error) == (code, "")
    assert len(done) == jobs
    assert done == [run for run in whole if run in done]
    for seed in {run["seed"] for run in whole} - {run["seed"] for run in done}:
        record = Path(f"out/records/mlp-norm-{seed}.jsonl")
        assert not record.exists() or '"step": 15' not in record.read_text(encoding="utf-8")
    command = f"lightning-clip compare --config {config} --jobs {jobs} --output out --resume"
    assert output.splitlines()[-1] == f"Interrupted: {jobs} of 3 runs are in out. Resume with: {command}"

    assert call(*command.split()[1:]) == 0
    assert timeless_runs(Path("out")) == whole


@pytest.mark.parametrize(
    ("engine", "forking"),
    [
        pytest.param("loky", True, id="forking loky"),
        *(pytest.param(name, False, id=name, marks=pytest.mark.slow) for name in ("loky", "dask", "ray")),
    ],
)
def test_an_interrupt_ends_what_an_engine_started(long_study, monkeypatch, engine, forking):
    """Ctrl-C keeps the finished runs, and silently ends all workers and clusters."""
    config, whole = long_study
    prepare()  # it stays, and is not to have the mark
    monkeypatch.setenv("STUDY_OF_A_TEST", f"{os.getpid()}-{engine}")
    jobs = "2" if engine == "loky" else "1"  # a cluster has a worker even for one job, loky has none
    options = ("--engine", engine, "--jobs", jobs, "--output", "out")
    with started_study(config, *options, runs=1, forking=forking) as program:
        assert len(processes_of_study(program)) > int(jobs)  # the program itself, and workers
        os.killpg(program.pid, signal.SIGINT)
        output, error = program.communicate(timeout=120)
    assert psutil.wait_procs(processes_of_study(program), timeout=60)[1] == []
    assert (program.returncode, error) == (130, "")
    done = timeless_runs(Path("out"))
    assert done == [run for run in whole if run in done]
    assert 1 <= len(done) < 3
    assert f"Interrupted: {len(done)} of 3 runs are in out." in output.splitlines()[-1]


def processes_of_study(program: Program) -> list[psutil.Process]:
    """Every process of the program's session, which forks stay in, and every other that inherited its mark."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            is_marked = process.environ().get("STUDY_OF_A_TEST") == os.environ["STUDY_OF_A_TEST"]
            if process.pid != os.getpid() and (is_marked or os.getsid(process.pid) == program.pid):
                found.append(process)
    return found


@pytest.mark.parametrize("engine", ["processes", "loky"])
def test_workers_end_with_their_parent(long_study, engine):
    """A killed program leaves no working process behind."""
    options = ("--engine", engine, "--jobs", "2", "--output", "out")
    with started_study(long_study[0], *options, runs=1, forking=True) as program:
        os.kill(program.pid, signal.SIGKILL)
        program.communicate(timeout=60)
    assert len(timeless_runs(Path("out"))) < 3
