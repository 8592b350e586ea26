"""`run_study`: many runs, one or several at a time."""

import multiprocessing
import time

import pytest

from lightning_clip._errors import InputError
from lightning_clip.studies import ResultsFolder, run_study
from tests.support.studies import result, steps_in, timeless, timeless_runs, tiny_study

BROKEN = {"a": {"class_path": "MLPRegressor"}, "b": {"class_path": "tests.support.studies.BrokenMLP"}}


def test_every_cell_is_run(tmp_path):
    """Results come in the order of the study, and are on disk with a record of each run."""
    study, folder = tiny_study(), ResultsFolder(tmp_path)
    results = run_study(study, folder)
    assert [one.key for one in results] == [cell.key for cell in study.cells()]
    assert folder.read() == ("tiny", results)
    assert {path.name for path in folder.records.iterdir()} == {
        f"mlp-{strategy}-{seed}.jsonl" for strategy in ("none", "norm-1.0") for seed in (0, 1)
    }


def test_two_jobs_give_the_results_of_one(tmp_path):
    """How many runs are made at a time changes no number, in the results and in the records."""
    one, two = ResultsFolder(tmp_path / "one"), ResultsFolder(tmp_path / "two")
    assert timeless(run_study(tiny_study(), one, jobs=1)) == timeless(run_study(tiny_study(), two, jobs=2))
    assert timeless_runs(one.path) == timeless_runs(two.path)
    for cell in tiny_study().cells():
        assert steps_in(one.record_of(cell.key)) == steps_in(two.record_of(cell.key))


def test_results_are_on_disk_as_each_run_ends(tmp_path):
    """When a run is announced its result can be read already."""
    folder, seen = ResultsFolder(tmp_path), []

    def note(finished):
        seen.append([one.key for one in folder.read()[1]])
        assert finished.key in seen[-1]

    run_study(tiny_study(), folder, on_result=note)
    assert [len(keys) for keys in seen] == [1, 2, 3, 4]


def test_finished_runs_are_kept(tmp_path):
    """Only what is missing is run, and a finished run that the study no longer asks for is not lost."""
    folder, announced = ResultsFolder(tmp_path), []
    finished = [result("none", 1), result("norm-1.0", 7)]
    results = run_study(tiny_study(), folder, finished=finished, on_result=announced.append)
    assert [one.key[1::2] for one in announced] == [("none", 0), ("norm-1.0", 0), ("norm-1.0", 1)]
    assert [one.key[1::2] for one in results] == [(s, n) for s in ("none", "norm-1.0") for n in (0, 1)] + [
        ("norm-1.0", 7)
    ]
    assert (results[1], results[4]) == (finished[0], finished[1])
    assert folder.read()[1] == results


def test_results_are_never_overwritten(tmp_path):
    """A folder with results of other runs is refused before anything is run."""
    folder = ResultsFolder(tmp_path)
    folder.write("tiny", [result()])
    with pytest.raises(InputError, match="it holds results; name another folder, or give them as `finished` to go on"):
        run_study(tiny_study(), folder)
    assert folder.read() == ("tiny", [result()])


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_defect_ends_the_study_and_loses_nothing(tmp_path, jobs):
    """An exception in a run is raised; what was finished before is on disk, and no process of ours is left."""
    folder = ResultsFolder(tmp_path)
    bystander = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    bystander.start()
    try:
        with pytest.raises(RuntimeError, match="a defect"):
            run_study(tiny_study(models=BROKEN, seeds=1), folder, jobs=jobs)
        assert multiprocessing.active_children() == [bystander]
    finally:
        bystander.kill()
        bystander.join()
    assert all(one.model == "a" for one in folder.read()[1])
    assert jobs == 2 or len(folder.read()[1]) == 2
