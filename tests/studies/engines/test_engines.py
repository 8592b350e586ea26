"""Engines: a study gives the same results wherever its runs execute."""

import os
from pathlib import Path

import pytest

from lightning_clip.studies import ResultsFolder, run_study
from lightning_clip.studies.engines import DaskEngine, Engine, LokyEngine, ProcessEngine, RayEngine
from tests.support.clusters import dask_cluster, forking_loky, ray_cluster, run_alone, run_nothing, run_until_death
from tests.support.stand_in_ray import stand_in_ray
from tests.support.studies import is_same_study, timeless, tiny_study


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The tiny study with the default engine."""
    folder = ResultsFolder(tmp_path_factory.mktemp("usual"))
    run_study(tiny_study(), folder)
    return folder


@pytest.fixture(scope="module")
def dask_address():
    with dask_cluster() as address:
        yield address


@pytest.fixture
def at_dask(dask_address, monkeypatch):
    """The engine in a shell with `DASK_SCHEDULER_ADDRESS`."""
    import dask

    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", dask_address)
    dask.config.refresh()  # a new process does this when it imports Dask
    yield DaskEngine()
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS")
    dask.config.refresh()


@pytest.fixture(scope="module")
def at_ray():
    """The engine in a program that has called `ray.init`."""
    with ray_cluster():
        yield RayEngine()


@pytest.fixture
def like_ray():
    """The same with a stand-in for Ray."""
    with stand_in_ray() as ray:
        ray.init("local")
        yield RayEngine()


@pytest.fixture(params=["at_dask", "like_ray", pytest.param("at_ray", marks=pytest.mark.slow)])
def cluster(request) -> Engine:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def at_loky():
    """The engine, whose new processes are forked from this one."""
    with forking_loky():
        yield LokyEngine()


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("loky", "at_ray")]


@pytest.fixture(params=["at_loky", "at_dask", "like_ray", *SLOW])
def engine(request) -> Engine:
    return LokyEngine() if request.param == "loky" else request.getfixturevalue(request.param)


def results_of(engine: Engine, run_cell, folder: Path, jobs: int = 2):
    """The results of the cells of the tiny study, from an engine alone."""
    cells = [(cell, folder / f"{number}.jsonl") for number, cell in enumerate(tiny_study().cells())]
    with engine.started(jobs, len(cells)) as places:
        return list(engine.run(run_cell, cells, places))


def test_every_engine_gives_the_same_numbers(tmp_path, usual, engine):
    """Results and records equal those of the default engine, bit for bit."""
    folder = ResultsFolder(tmp_path)
    results = run_study(tiny_study(), folder, jobs=2, engine=engine)
    assert timeless(results) == timeless(usual.read().runs)
    assert is_same_study(folder, usual)


def test_a_cluster_executes_every_run(tmp_path, cluster):
    """No run executes in this process, even with one job, and a run need not write a record."""
    for jobs in (1, 2):
        processes = {one.steps for one in results_of(cluster, run_nothing, tmp_path, jobs)}
        assert processes
        assert os.getpid() not in processes
    assert list(tmp_path.iterdir()) == []


def test_there_is_room_for_a_run_in_each_worker(cluster):
    """By default there are as many jobs as workers, but never more than runs."""
    for jobs, cells, places in [(None, 9, 2), (None, 1, 1), (3, 9, 3), (9, 4, 4)]:
        with cluster.started(jobs, cells) as found:
            assert found == places


def test_a_run_is_alone_in_its_process(tmp_path, at_dask):
    """The threads of a worker take turns, because they share the random state of Python and torch."""
    assert len(results_of(at_dask, run_alone, tmp_path, jobs=4)) == 4


def test_a_defect_is_raised_as_it_is(tmp_path, engine):
    """An exception in a run is the same as without an engine, and finished runs are on disk."""
    broken = {"a": {"class_path": "MLPRegressor"}, "b": {"class_path": "tests.support.studies.BrokenMLP"}}
    folder = ResultsFolder(tmp_path)
    with pytest.raises(RuntimeError, match=r"\Aa defect\Z"):
        run_study(tiny_study(models=broken, seeds=1), folder, jobs=2, engine=engine)
    assert all(one.model == "a" for one in folder.read().runs)


def test_the_death_of_a_worker_is_reported(tmp_path, monkeypatch, engine):
    """A run that kills its process ends the study, which does not wait forever."""
    monkeypatch.setenv("RAY_TASK_MAX_RETRIES", "0")  # three retries would take long
    with pytest.raises(Exception, match=r"(?i)died|terminated"):
        results_of(engine, run_until_death, tmp_path)


def test_nothing_to_run_needs_no_engine(tmp_path, usual):
    """No cluster starts if every run has finished."""

    class NoEngine(ProcessEngine):
        def started(self, jobs, cells):
            raise AssertionError("started")

    finished = usual.read().runs
    assert run_study(tiny_study(), ResultsFolder(tmp_path), engine=NoEngine(), finished=finished) == finished
