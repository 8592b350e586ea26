"""Clusters from the command line: a new one, one at an address, and none."""

import importlib
import os
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

import dask
import psutil
import pytest

from lightning_clip._errors import InputError
from lightning_clip.studies import ResultsFolder, run_study
from lightning_clip.studies.engines import ENGINES, DaskEngine
from tests.support.clusters import ray_cluster
from tests.support.command import call, refusal
from tests.support.fresh import prepare, run
from tests.support.stand_in_ray import stand_in_ray
from tests.support.studies import CONTENT, is_same_study, steps_in, timeless_runs, tiny_study, written_study


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The tiny study with the default engine."""
    folder = ResultsFolder(tmp_path_factory.mktemp("usual"))
    run_study(tiny_study(), folder)
    return folder


def workers() -> set[psutil.Process]:
    """The processes that this one started, except for Python's own resource trackers."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            if "resource_tracker" not in " ".join(child.cmdline()):
                found.add(child)
    return found


@pytest.mark.parametrize(
    ("name", "ray_is"),
    [("dask", nullcontext), ("ray", stand_in_ray), pytest.param("ray", nullcontext, marks=pytest.mark.slow)],
    ids=["dask", "like ray", "ray"],
)
def test_without_an_address_a_cluster_is_started_and_closed(tmp_path, capfd, usual, name, ray_is):
    """`--engine` needs only its extra, gives the same numbers, and leaves no process behind."""
    prepare()  # from which a worker of Dask is forked here, and need not import Lightning again
    importlib.import_module("distributed")  # its defaults would go with the change below, if they came during it
    before = workers()
    options = ("--config", written_study(tmp_path), "--jobs", "1", "--output", "out")
    with ray_is(), dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        assert call("compare", "--engine", name, *options) == 0
        assert psutil.wait_procs(workers() - before, timeout=30)[1] == []
        assert not importlib.import_module("ray").is_initialized()
    assert is_same_study(ResultsFolder("out"), usual)
    assert capfd.readouterr().err == ""


def test_ray_is_asked_for_the_cluster_at_its_address(monkeypatch):
    """The short form of the next test: with `RAY_ADDRESS`, there are as many jobs as the cluster has CPUs."""
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with stand_in_ray() as ray:
        with ENGINES["ray"]().started(None, 9) as jobs:
            assert jobs == ray.cluster_resources()["CPU"] == 2
        assert ray.addresses == ["10.0.0.1:6379"]
        assert not ray.is_initialized()


@pytest.mark.slow
def test_a_ray_cluster_is_found_by_its_address(tmp_path, usual):
    """The runs execute in the cluster at `RAY_ADDRESS`, which keeps running after the study."""
    strategies = {"norm-1.0": CONTENT["strategies"]["norm-1.0"]}
    models = {"mlp": {"class_path": "tests.support.clusters.ClusterMLP"}}
    config = written_study(tmp_path, models=models, strategies=strategies, seeds=1)
    command = ["-m", "lightning_clip", "compare", "--engine", "ray", "--config", str(config), "--output", "out"]
    with ray_cluster() as address:
        done = run(command, tmp_path, timeout=300, RAY_ADDRESS=address, PYTHONPATH=os.pathsep.join(sys.path))
        assert done.returncode == 0, done.stderr
        assert importlib.import_module("ray").cluster_resources()["CPU"] == 2
    (found,) = timeless_runs(Path("out"))
    assert found in timeless_runs(usual.path)
    record = "mlp-norm-1.0-0.jsonl"
    assert steps_in(Path("out/records") / record) == steps_in(usual.records / record)


@pytest.mark.parametrize(("name", "module", "package"), [("dask", "distributed", "Dask"), ("ray", "ray", "Ray")])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, capsys, name, module, package):
    """Without its package, an engine is refused in one line, before anything is written."""
    monkeypatch.setitem(sys.modules, module, None)
    line = refusal(capsys, "compare", "--engine", name, "--output", "out")
    assert line == f'--engine {name}: {package} is not installed: pip install "lightning-clip[{name}]"'
    with pytest.raises(InputError, match="is not installed"), ENGINES[name]().started(None, 4):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_engine_is_refused(tmp_path, capsys):
    """The choices are listed in one line."""
    line = refusal(capsys, "compare", "--engine", "spark", "--output", "out")
    choices = "invalid choice: 'spark' (choose from 'processes', 'loky', 'dask', 'ray')"
    assert line == f"argument --engine: {choices}. See `lightning-clip compare --help`."
    assert list(tmp_path.iterdir()) == []


def test_a_scheduler_that_does_not_answer_is_named(tmp_path, monkeypatch, capsys):
    """A wrong address ends the study in one line, before anything is written."""
    monkeypatch.setattr("lightning_clip.studies.engines.dask._TIMEOUT", 1)
    with dask.config.set({"scheduler-address": "tcp://127.0.0.1:9"}):
        line = refusal(capsys, "compare", "--engine", "dask", "--output", "out")
        with (
            pytest.raises(InputError, match=r"no cluster answers at tcp://127\.0\.0\.1"),
            DaskEngine().started(None, 4),
        ):
            pass
    assert line == (
        "--engine dask: no cluster answers at tcp://127.0.0.1:9: "
        "Timed out trying to connect to tcp://127.0.0.1:9 after 1 s"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "reason"), [("nowhere", "Invalid address"), ("auto", "Could not find any running")]
)
def test_a_ray_cluster_that_does_not_answer_is_named(tmp_path, monkeypatch, capsys, address, reason):
    """A wrong `RAY_ADDRESS` ends the study in one line, before anything is written."""
    monkeypatch.setenv("RAY_ADDRESS", address)
    line = refusal(capsys, "compare", "--engine", "ray", "--output", "out")
    assert line.startswith(f"--engine ray: no cluster answers at {address}: {reason}")
    assert not importlib.import_module("ray").is_initialized()
    assert list(tmp_path.iterdir()) == []
