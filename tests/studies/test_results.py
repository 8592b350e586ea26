"""`ResultsFolder`: the files that a study writes and reads."""

import json

import pytest

from lightning_clip import __version__
from lightning_clip._errors import InputError
from lightning_clip.studies import ResultsFolder, StudyResults, next_free_folder
from lightning_clip.studies.comparison.result import run_key
from tests.support.studies import result

LOST = result("none", 1, diverged=True, diverged_at_step=9, metrics={"train_mse": None, "test_mse": None})


def test_results_have_the_published_schema(tmp_path):
    """`results.json` has the study, the version, and one object per run, with exactly these keys."""
    ResultsFolder(tmp_path).write("tiny", [result(), LOST])
    written = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert written == {
        "study": "tiny",
        "version": __version__,
        "runs": [
            {
                "model": "mlp",
                "strategy": "norm-1.0",
                "seed": 0,
                "diverged": False,
                "diverged_at_step": None,
                "steps": 16,
                "seconds": 0.25,
                "clipped_fraction": 0.5,
                "metrics": {"train_mse": 1.5, "test_mse": 2.5},
                "axes": {},
            },
            {
                "model": "mlp",
                "strategy": "none",
                "seed": 1,
                "diverged": True,
                "diverged_at_step": 9,
                "steps": 16,
                "seconds": 0.25,
                "clipped_fraction": 0.5,
                "metrics": {"train_mse": None, "test_mse": None},
                "axes": {},
            },
        ],
    }


def test_results_are_read_as_they_were_written(tmp_path):
    """Reading gives the same study, runs and experiment, including axes and descriptions of the data."""
    runs = [result(), LOST, result("norm-1.0", 2, axes={"length": 100}, data="a text")]
    ResultsFolder(tmp_path).write("tiny", runs)
    assert ResultsFolder(str(tmp_path)).read() == StudyResults("tiny", runs)
    ResultsFolder(tmp_path).write("tiny", runs, experiment={"class_path": "Cliff"})
    assert ResultsFolder(tmp_path).read() == StudyResults("tiny", runs, {"class_path": "Cliff"})
    ResultsFolder(tmp_path).write("tiny", runs, environments=[{"cpu": "a", "cores": 2}])
    assert ResultsFolder(tmp_path).read() == StudyResults("tiny", runs, environments=({"cpu": "a", "cores": 2},))


def test_results_are_written_whole_or_not_at_all(tmp_path):
    """If writing fails, the earlier results stay as they were."""
    folder = ResultsFolder(tmp_path)
    folder.write("tiny", [result()])
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write("tiny", [result(metrics={"test_mse": float("nan")})])
    assert folder.read() == StudyResults("tiny", [result()])
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_folder_knows_whether_it_is_used(tmp_path):
    """A folder that is not empty, or a file in its place, is in use; it has results once they are written."""
    folder = ResultsFolder(tmp_path / "new")
    assert (folder.is_used(), folder.has_results()) == (False, False)
    folder.path.mkdir()
    assert not folder.is_used()
    folder.write("tiny", [])
    assert (folder.is_used(), folder.has_results()) == (True, True)
    assert ResultsFolder(tmp_path / "new" / "results.json").is_used()


def test_a_record_is_named_after_its_run(tmp_path):
    """Each run has its own record under `records/`."""
    record = ResultsFolder(tmp_path).record_of(run_key("mlp", "norm-1.0", {"length": 100}, 3))
    assert record == tmp_path / "records" / "mlp-norm-1.0-length-100-3.jsonl"


def test_a_new_folder_is_numbered(tmp_path):
    """It gets the first free number."""
    assert next_free_folder(tmp_path, "tiny") == tmp_path / "tiny-1"
    (tmp_path / "tiny-1").mkdir()
    assert next_free_folder(tmp_path, "tiny") == tmp_path / "tiny-2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"study": "x",\n', "line 2: expected JSON"),
        (b"\xff\xfe", "expected JSON, found a file that is not text"),
        (b"[]", "expected the results of `lightning-clip compare`"),
        (b'{"study": "x", "runs": 3}', "expected runs to be a list, found 3"),
        (b'{"study": "x", "runs": [{"model": "mlp"}]}', "run 1: expected the key 'strategy'"),
        (b'{"runs": []}', "expected the results .*'study'"),
    ],
)
def test_what_is_not_results_is_refused(tmp_path, content, message):
    """The message names the file and what was expected."""
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        ResultsFolder(tmp_path).read()
    assert str(raised.value).startswith(str(tmp_path / "results.json"))


def test_a_folder_without_results_is_refused(tmp_path):
    """A folder without a study has nothing to report."""
    with pytest.raises(InputError, match=r"no results here \(results.json: No such file or directory\)"):
        ResultsFolder(tmp_path).read()
