"""The first ten minutes: `list`, `init`, the help of `fit`, own classes and packaged configurations."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import lightning_clip
from lightning_clip.cli.catalog import KINDS, config_names, entries
from lightning_clip.cli.starter import FILES
from lightning_clip.studies import ResultsFolder, built_in_studies, load_study, run_study
from tests.support.command import call, refusal
from tests.support.fresh import run

QUICK = ("--trainer.fast_dev_run=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false")
PARTS = ("--model=MLPRegressor", "--data=RegressionDataModule", "--trainer.logger=false")
TITLE = "Gradient report: "


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working folder; the modules in it are forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    monkeypatch.setenv("COLUMNS", "100")
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


@pytest.fixture
def project(folder):
    """A starter project in the working folder."""
    assert call("init") == 0
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_has_one_line(kind, capsys):
    """`list` prints each name with what it is for."""
    assert call("list", kind) == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, line in entries(kind):
        assert name in text
        assert line[0].isalnum() or line[0] == "`"
        assert " ".join(line.split()[:2]) in text


def test_what_is_listed_is_what_there_is():
    """The names are read from the source, and are those that the package exports."""
    found = {kind: {name for name, _ in entries(kind)} for kind in KINDS}
    exported = set(lightning_clip.__all__)
    strategies = {name for name in lightning_clip.strategies.__all__ if isinstance(getattr(lightning_clip, name), type)}
    assert found["strategies"] == strategies & exported
    assert found["callbacks"] == set(lightning_clip.callbacks.__all__)
    assert found["modules"] == set(lightning_clip.modules.__all__) & exported
    assert found["data"] == {name for name in exported if name.endswith("DataModule")}
    assert sorted(found["studies"]) == built_in_studies()
    assert found["configs"] == set(config_names()) >= {"trainer", "clip/norm", "data/regression", "model/mlp"}


def test_a_list_has_no_trailing_blanks(capsys, monkeypatch):
    """A long line goes on below its own column, whatever the width."""
    for columns in ("40", "100"):
        monkeypatch.setenv("COLUMNS", columns)
        assert call("list", "callbacks") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line != line.rstrip()] == []
        assert any(line.startswith("GradientClipping ") for line in lines)


def test_without_a_kind_the_kinds_are_listed(capsys):
    """`list` alone says what can be listed."""
    assert call("list") == 0
    assert set(KINDS) <= set(capsys.readouterr().out.split())


def test_an_unknown_kind_is_one_line(capsys):
    """A kind that does not exist is refused with the one that was meant."""
    assert "did you mean 'strategies'?" in refusal(capsys, "list", "strategys")


def test_configurations_of_the_package_need_no_path(capsys):
    """`--config clip/norm` names a file that is installed with the package, with a space or an equals sign."""
    names = ("--config", "trainer", "--config=model/mlp", "--config", "data/regression", "--config", "clip/norm")
    assert call("fit", *names, *QUICK) == 0
    assert "Strategy   NormClip(" in capsys.readouterr().out


def test_a_file_goes_before_a_name(folder, capsys):
    """A file of the user's that has the name of a packaged configuration is the one that is read."""
    (folder / "trainer").write_text("trainer: [", encoding="utf-8")
    assert "not a YAML file" in refusal(capsys, "fit", "--config", "trainer")


def test_an_unknown_configuration_is_one_line(capsys):
    """The message names the configuration that was probably meant, and the command that lists them."""
    assert "in the package. `lightning-clip list" in refusal(capsys, "fit", "--config", "nothing-like-it", *PARTS)
    line = refusal(capsys, "fit", "--config", "clip/norn", *PARTS)
    assert line.startswith("--config clip/norn: there is no such file, and no such configuration in the package; did")
    assert "clip/norm" in line
    assert "lightning-clip list configs" in line


@pytest.mark.parametrize(
    ("options", "reports"), [([], 1), (["--no-report"], 0), (["--trainer.callbacks+=RichGradientReport"], 1)]
)
def test_the_report_is_printed_once_or_not(options, reports, capsys):
    """`fit` prints the report by default, never twice, and not with `--no-report`."""
    assert call("fit", *PARTS, *QUICK, *options) == 0
    assert capsys.readouterr().out.count(TITLE) == reports


def test_the_other_commands_print_no_report(capsys):
    """`test` trains nothing, so there is nothing to report."""
    assert call("test", *PARTS, *QUICK) == 0
    assert TITLE not in capsys.readouterr().out


def test_the_help_of_fit_is_one_screen(capsys):
    """`fit --help` shows what most runs need in 60 lines; `--help-all` shows every option of the Trainer."""
    assert call("fit", "--help") == 0
    short = capsys.readouterr().out
    assert len(short.splitlines()) <= 60
    assert max(map(len, short.splitlines())) <= 120
    for name in ("--config", "clip/norm", "module.Class", "--no-report", "--help-all", "RNNModule", "ZClip"):
        assert name in short
    assert call("fit", "--help-all") == 0
    assert {"--trainer.max_epochs", "--no-report"} <= set(capsys.readouterr().out.replace(",", " ").split())


def test_a_starter_project_runs_as_a_run(project, capsys):
    """`init` writes a run of a network of one's own, found in the working folder."""
    assert call("fit", "--config", "run.yaml", *QUICK) == 0
    out = capsys.readouterr().out
    assert "Gradient report: SeriesLSTM" in out
    assert "Strategy   NormClip(" in out


def test_a_starter_project_runs_as_a_study_and_a_script(project):
    """The study trains every strategy on the network, and the script ends with its report and a record."""
    sys.path.append(str(project))
    study = load_study("study.yaml")
    few = {"limit_train_batches": 1, "limit_test_batches": 1}
    results = run_study(replace(study, seeds=1, max_epochs=1, trainer=few), ResultsFolder(project / "out"), jobs=1)
    assert [result.strategy for result in results] == ["none", "norm-1.0", "auto"]
    text = (project / "train.py").read_text(encoding="utf-8")
    (project / "short.py").write_text(text.replace("max_epochs=2", "max_steps=2"), encoding="utf-8")
    done = run(["short.py"], project)
    assert done.returncode == 0, done.stderr
    assert "Gradient report: SeriesLSTM" in done.stdout
    assert (project / "runs" / "train.jsonl").exists()


def test_the_script_and_the_run_are_the_same(project):
    """What `train.py` says is what `run.yaml` says."""
    trainer = yaml.safe_load((project / "run.yaml").read_text(encoding="utf-8"))["trainer"]
    assert f"max_epochs={trainer['max_epochs']}," in (project / "train.py").read_text(encoding="utf-8")


def test_a_starter_project_is_never_written_over_files(project, capsys):
    """A folder with anything in it is left alone; a new folder is made."""
    before = {path.name: path.read_bytes() for path in project.iterdir() if path.is_file()}
    assert "not an empty folder" in refusal(capsys, "init")
    assert "not an empty folder" in refusal(capsys, "init", "train.py")
    assert {path.name: path.read_bytes() for path in project.iterdir() if path.is_file()} == before
    assert call("init", "new/one") == 0
    assert sorted(path.name for path in Path("new/one").iterdir()) == sorted(FILES)


def test_an_own_class_that_is_not_there_says_where_it_was_looked_for(capsys):
    """The message says that the module must be in the working folder or installed."""
    line = refusal(capsys, "fit", "--model=mymod.MyNet", *PARTS[1:])
    assert "there is no class 'mymod.MyNet': no module named 'mymod'" in line
    assert "mymod.py in the working folder" in line
