"""Bad input: one clear line that quotes what was given and says what is expected, and nothing changed on disk."""

import io
import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from lightning_clip import load_record
from lightning_clip.reports.text import to_text
from lightning_clip.studies import ResultsFolder
from lightning_clip.studies.comparison.result import run_key
from lightning_clip.studies.story import story
from tests.faults.bad_input import CASES, Case, count_by_area, problems
from tests.faults.bad_input.cli import STUDY
from tests.faults.bad_input.files import EVENT, RESULTS, ROW, RUN, STEP
from tests.faults.bad_input.fits import ALWAYS, TABLE
from tests.support.command import call
from tests.support.fresh import run
from tests.support.studies import FixedMLP

ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b\u202e"
TRAIN = ("fit", *ALWAYS, *TABLE)


def batched() -> list[list[Case]]:
    """All cases, at most 20 together, because a test costs more than most of them."""
    areas: dict[str, list[Case]] = {}
    for case in CASES:
        areas.setdefault(case.area, []).append(case)
    return [cases[start : start + 20] for cases in areas.values() for start in range(0, len(cases), 20)]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize("cases", batched(), ids=lambda cases: f"{cases[0].area}, from {cases[0].name!a:.60} on")
def test_bad_input_is_answered_in_one_line(cases, tmp_path, record_property):
    """The line says what the case expects of it, the exit code or exception fits, and no file has changed."""
    found = {}
    for number, case in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        if wrong := problems(case, folder):
            found[f"{case.area}: {case.name}"] = wrong
    record_property("tried", len(cases))
    record_property("lost", len(found))
    assert found == {}


def test_every_area_is_tried():
    """There are hundreds of cases, no two with the same name."""
    assert {area: count for area, count in count_by_area().items() if count < 30} == {}
    assert len({(case.area, case.name) for case in CASES}) == len(CASES) >= 400


def test_a_case_fails_where_the_input_is_good(tmp_path):
    """The harness notices a command that succeeds and a file that stays behind."""
    good = next(case for case in CASES if case.name == "study: seeds -1")
    fine = type(good)(good.area, "fine", (), {"s.yaml": STUDY}, args=(*good.args, "--seeds", "1"))
    found = " ".join(problems(fine, tmp_path))
    assert "exit code 0" in found
    assert "left 'o/results.json'" in found


def test_escapes_in_a_record_are_shown_and_not_sent(capsys):
    """Names of models, strategies, optimizers and parameters, and the messages of events, cannot command a terminal."""
    run = {"run": {**RUN["run"], "model": ESCAPES, "strategy": ESCAPES, "optimizer": ESCAPES, "numels": {ESCAPES: 6}}}
    bad = {**STEP, "strategy": ESCAPES, "finite": False, "norm_before": "nan", "bad_params": [ESCAPES]}
    event = {"event": {**EVENT["event"], "message": ESCAPES}}
    Path("r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (run, STEP, bad, event)), encoding="utf-8")
    assert call("report", "r.jsonl") == 0
    shown = capsys.readouterr().out + str(load_record("r.jsonl").report())
    assert not set(shown) & set(ESCAPES) - set("[31mred]0;title")
    assert shown.count("\\x1b[31mred\\x1b]0;title") > 8


def test_escapes_in_results_are_shown_and_not_sent(capsys):
    """The same for the names in a study."""
    odd = {**ROW, "model": ESCAPES, "strategy": ESCAPES, "axes": {ESCAPES: ESCAPES}, "data": ESCAPES}
    results = {**RESULTS, "study": ESCAPES, "runs": [odd, {**odd, "strategy": "norm", "metrics": {ESCAPES: 1.0}}]}
    Path("o").mkdir()
    Path("o/results.json").write_text(json.dumps(results), encoding="utf-8")
    assert call("report", "o") == 0
    shown = capsys.readouterr().out
    assert not set(shown) & set(ESCAPES) - set("[31mred]0;title")
    assert shown.count("\\x1b[31mred\\x1b]0;title") > 4


def test_an_axis_may_be_called_like_a_field(capsys):
    """Axes have a key of their own in `results.json`: those called `steps` and `data` change no field."""
    study = yaml.safe_load(STUDY) | {"settings": [{"axes": {"steps": 50, "data": "few", "seconds": 7}}]}
    Path("s.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    assert call("compare", "--config", "s.yaml", "--output", "o", "--jobs", "1") == 0
    runs = ResultsFolder("o").read().runs
    assert [run.axes for run in runs] == [{"steps": 50, "data": "few", "seconds": 7}] * 2
    assert runs[1].steps == 16
    assert runs[1].seconds != 7
    printed = capsys.readouterr().out
    assert call("report", "o") == 0
    assert capsys.readouterr().out.splitlines()[2] in printed


def test_results_of_earlier_versions_are_read():
    """In their rows, every key that is no field is an axis."""
    Path("o").mkdir()
    old = {**RESULTS, "runs": [{**ROW, "length": 100, "kind": "long"}]}
    Path("o/results.json").write_text(json.dumps(old), encoding="utf-8")
    results = ResultsFolder("o").read()
    assert results.runs[0].key == run_key("mlp", "none", {"length": 100, "kind": "long"}, 0)
    assert "length 100, kind long" in to_text(story(results, ResultsFolder("o")), width=100)


def test_a_refused_study_can_be_started_again():
    """What it wrote before its first run failed is gone, and the same command works once the mistake is corrected."""
    Path("s.yaml").write_text(STUDY.replace("{class_path: MLPRegressor}", "{class_path: LSTMModule}"), encoding="utf-8")
    command = ("compare", "--config", "s.yaml", "--output", "runs/o", "--jobs", "1")
    assert call(*command) == 2
    assert os.listdir() == ["s.yaml"]
    Path("s.yaml").write_text(STUDY, encoding="utf-8")
    assert call(*command) == 0


def test_a_config_of_the_user_is_not_overwritten():
    """Without a logger, `fit` saves its configuration in the working folder, beside one that somebody wrote."""
    Path("config.yaml").write_text("# mine\ntrainer: {max_epochs: 1}\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"config.yaml is not a file of this program: saving .*config-1.yaml instead"):
        assert call(*TRAIN) == 0
    assert Path("config.yaml").read_text(encoding="utf-8").startswith("# mine\n")
    assert yaml.safe_load(Path("config-1.yaml").read_text(encoding="utf-8"))["model"]["init_args"]["hidden_sizes"] == [
        25
    ]


def test_a_config_of_an_earlier_run_is_replaced():
    """A file that `fit` has saved itself is brought up to date, unless this run was configured by it."""
    assert call(*TRAIN) == 0
    first = Path("config.yaml").read_text(encoding="utf-8")
    assert call(*TRAIN, "--model.hidden_sizes=[3]") == 0
    assert Path("config.yaml").read_text(encoding="utf-8") != first
    assert sorted(os.listdir()) == ["config.yaml"]
    with pytest.warns(UserWarning, match="config.yaml configures this run: saving .*config-1.yaml instead"):
        assert call("fit", "--config=config.yaml", "--model.hidden_sizes=[4]") == 0
    assert yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))["model"]["init_args"]["hidden_sizes"] == [3]


def test_a_subclass_may_have_fewer_arguments():
    """On the command line its hyperparameters are its own arguments, and its checkpoint can be loaded."""
    options = [option for option in ALWAYS if "checkpoint" not in option]
    assert call("fit", *options, "--model=tests.support.studies.FixedMLP", TABLE[1], "--model.width=5") == 0
    (path,) = Path().rglob("*.ckpt")
    assert FixedMLP.load_from_checkpoint(path).layers[0].out_features == 5


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_gets_its_line(encoding, monkeypatch):
    """A line that the encoding of the terminal lacks is printed with escapes."""
    shown = io.BytesIO()
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(shown, encoding, errors="strict", write_through=True))
    assert call("report", "ré→sumé\x1b") == 2
    (line,) = shown.getvalue().decode(encoding).splitlines()
    assert line.startswith("lightning-clip: r")
    assert line.endswith("\\x1b: No such file or directory")


def test_a_full_disk_is_one_line(tmp_path):
    """A study whose results cannot be written ends at once, and leaves nothing behind."""
    (tmp_path / "s.yaml").write_text(STUDY, encoding="utf-8")
    limited = (
        "import resource, signal, sys\n"
        "from lightning_clip.cli import main\n"
        "sys.dont_write_bytecode = True\n"  # a compiled file cut short would break every later import
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"  # the kernel refuses files of more than 40 bytes
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))\n"
        "sys.exit(main(['compare', '--config', 's.yaml', '--output', 'o', '--jobs', '2']))\n"
    )
    done = run(["-c", limited], tmp_path, PYTHONPATH=os.pathsep.join(sys.path), PYTHONDONTWRITEBYTECODE="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == ["lightning-clip: o/results.json: cannot be written: File too large"]
    assert sorted(os.listdir(tmp_path)) == ["s.yaml"]
