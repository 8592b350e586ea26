"""`lightning-clip compare`: what it prints and writes, how it resumes, and what it refuses."""

import json
import re
import sys
from pathlib import Path

import pytest

from lightning_clip._errors import InputError
from lightning_clip.cli.compare import compare
from lightning_clip.studies import ResultsFolder, StudyResults
from tests.support.command import call, refusal
from tests.support.studies import result, steps_in, timeless_runs, written_study


def run(config, **options) -> int:
    defaults = {"seeds": None, "jobs": 1, "output": None, "resume": False, "command": "lightning-clip compare"}
    return compare(str(config), **{**defaults, **options})


def lines_of(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def test_a_study_is_run_printed_and_saved(tmp_path, capsys):
    """It prints the progress, the comparison and where to look, and writes the results, the records and the report."""
    assert run(written_study(tmp_path), output=tmp_path / "out") == 0
    lines = lines_of(capsys.readouterr().out)
    assert [line.split("]")[0] for line in lines[:4]] == ["[1/4", "[2/4", "[3/4", "[4/4"]
    assert re.fullmatch(r"4 runs in [\d.]+ s", lines[-5])
    assert lines[-4] == (
        "All runs flushed denormal numbers to zero (torch.set_flush_denormal): "
        "with denormal gradients, a CPU is many times slower."
    )
    assert lines[-3:] == [
        f"Results: {tmp_path / 'out'}",
        f"Figure: {tmp_path / 'out' / 'figure.png'}",
        f"One run in detail: lightning-clip report {tmp_path / 'out' / 'records' / 'mlp-norm-1.0-1.jsonl'}",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "figure.png",
        "records",
        "report.txt",
        "results.json",
    ]
    assert lines[4:-5] == lines_of((tmp_path / "out" / "report.txt").read_text(encoding="utf-8"))


def test_the_report_shows_what_happened(tmp_path):
    """It has a row for each strategy, the run that diverged with its step, and the clipped run beside it."""
    run(written_study(tmp_path), output=tmp_path / "out")
    report = (tmp_path / "out" / "report.txt").read_text(encoding="utf-8")
    rows = {line.split()[0]: line for line in report.splitlines() if line.startswith(("  none ", "  norm-1.0 "))}
    assert "2 of 2, step" in rows["none"]
    assert rows["none"].count("diverged") == 2
    assert "0 of 2" in rows["norm-1.0"]
    assert "Gradient report: mlp, none, seed 0" in report
    assert "Gradient report: mlp, norm-1.0, seed 0" in report
    assert not re.search(r"\bnan\b", report)  # as people write it, not as Python does


def test_without_matplotlib_there_is_no_figure(tmp_path, capsys, monkeypatch):
    """The figure is left out silently, and everything else stays the same."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run(written_study(tmp_path, seeds=1), output=tmp_path / "out") == 0
    assert "Figure" not in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["records", "report.txt", "results.json"]


def test_a_cpu_that_cannot_flush_denormals_is_not_said_to(tmp_path, capsys, monkeypatch):
    """The line on denormal numbers is printed only where it is true."""
    monkeypatch.setattr("lightning_clip.cli.compare.can_flush_denormals", lambda: False)
    run(written_study(tmp_path, seeds=1), output=tmp_path / "out")
    assert "denormal" not in capsys.readouterr().out


def test_without_an_output_a_new_folder_is_made(tmp_path, capsys):
    """Results go to `runs/NAME-1`, then `runs/NAME-2`, and never overwrite earlier ones."""
    config = written_study(tmp_path, seeds=1)
    run(config)
    run(config)
    assert sorted(path.name for path in Path("runs").iterdir()) == ["tiny-1", "tiny-2"]
    assert timeless_runs(Path("runs/tiny-1")) == timeless_runs(Path("runs/tiny-2"))
    assert "Results: runs/tiny-2" in capsys.readouterr().out


def test_seeds_replace_the_studys_own(tmp_path):
    """`seeds` sets the number of seeds."""
    run(written_study(tmp_path), seeds=1, output=tmp_path / "out")
    assert [one["seed"] for one in timeless_runs(tmp_path / "out")] == [0, 0]


def test_a_folder_in_use_is_never_overwritten(tmp_path):
    """A folder that contains anything is refused and stays as it was."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"--output .*out: this path is in use; name a new folder, or continue the study in it"
    ):
        run(written_study(tmp_path), output=out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_resuming_runs_what_is_missing(tmp_path, capsys):
    """With `resume`, finished runs stay as they are, and the others give the numbers of an uninterrupted study."""
    config, whole, parts = written_study(tmp_path), tmp_path / "whole", tmp_path / "parts"
    run(config, output=whole)
    run(config, output=parts, seeds=1)
    first = json.loads((parts / "results.json").read_text(encoding="utf-8"))["runs"]
    capsys.readouterr()
    assert run(config, output=parts, resume=True) == 0
    output = capsys.readouterr().out
    assert output.startswith("[3/4] ")
    assert "\n2 runs in " in output
    assert timeless_runs(parts) == timeless_runs(whole)
    both = json.loads((parts / "results.json").read_text(encoding="utf-8"))["runs"]
    assert [one for one in both if one["seed"] == 0] == first


def test_resuming_with_fewer_seeds_loses_nothing(tmp_path):
    """Runs with seeds that are no longer part of the study stay in the results."""
    config, out = written_study(tmp_path), tmp_path / "out"
    run(config, output=out)
    before = timeless_runs(out)
    run(config, output=out, seeds=1, resume=True)
    assert sorted(timeless_runs(out), key=str) == sorted(before, key=str)


def test_resuming_needs_the_same_study(tmp_path):
    """Results of another study are refused and stay as they were."""
    folder = ResultsFolder(tmp_path / "out")
    folder.write("another", [result()])
    with pytest.raises(InputError, match="contains the study 'another', not 'tiny'; name a new folder"):
        run(written_study(tmp_path), output=folder.path, resume=True)
    assert folder.read() == StudyResults("another", [result()])


def test_resuming_needs_a_folder(tmp_path):
    """`--resume` needs `--output`."""
    with pytest.raises(InputError, match="--resume: name the folder of the interrupted study with --output"):
        run(written_study(tmp_path), resume=True)


def test_a_folder_of_something_else_is_not_resumed(tmp_path):
    """A folder that is not empty but has no results is refused."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="no results here"):
        run(written_study(tmp_path), output=tmp_path / "out", resume=True)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_says_how_to_resume(tmp_path, capsys, monkeypatch, interrupt):
    """Ctrl-C keeps the finished runs, prints the command that resumes the study in one line, and exits with 130."""

    def interrupted(study, folder, *, jobs, engine, finished, on_result):
        folder.write(study.name, [result()])
        raise interrupt

    monkeypatch.setattr("lightning_clip.cli.compare.run_study", interrupted)
    monkeypatch.setenv("COLUMNS", "60")
    config = written_study(tmp_path)
    assert run(config, command="lightning-clip compare --jobs 1") == 130
    assert capsys.readouterr().out == (
        "Interrupted: 1 of 4 runs are in runs/tiny-1. "
        "Resume with: lightning-clip compare --jobs 1 --resume --output runs/tiny-1\n"
    )
    assert run(config, output=Path("runs/tiny-1"), resume=True, command="compare --output runs/tiny-1 --resume") == 130
    assert capsys.readouterr().out.endswith("Resume with: compare --output runs/tiny-1 --resume\n")


def test_an_interrupt_before_the_first_result_can_be_resumed(tmp_path, monkeypatch, capsys):
    """A study that was interrupted at once starts again."""
    config, out = written_study(tmp_path, seeds=1), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("lightning_clip.studies.runner.run_cell", lambda cell, record: (_ for _ in ()).throw(SystemExit))
        assert run(config, output=out) == 130
    assert "Interrupted: 0 of 2 runs" in capsys.readouterr().out
    assert run(config, output=out, resume=True) == 0
    assert len(timeless_runs(out)) == 2


def test_the_same_command_gives_the_same_numbers(tmp_path):
    """Two studies with the same seeds have the same results and records, apart from times."""
    for output in ("a", "b"):
        assert call("compare", "--config", written_study(tmp_path), "--seeds", "1", "--output", output) == 0
    assert timeless_runs(Path("a")) == timeless_runs(Path("b"))
    for record in Path("a/records").iterdir():
        assert steps_in(record) == steps_in(Path("b/records") / record.name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "none.yaml"], "none.yaml: cannot be read: No such file or directory"),
        (["--config", "nothing"], "nothing: there is no such study; name a .yaml file or one of cliff, gradient-flow"),
        (["--seeds", "0"], "seeds: "),
        (["--jobs", "two"], "jobs: "),
        (["--frobnicate"], "unrecognized arguments: --frobnicate. See `lightning-clip compare --help`."),
        (["--resume"], "--resume: name the folder"),
        (["--output", "used"], "--output used: this path is in use; name a new folder, or continue the study in it"),
        (["--output", "used/notes.txt"], "--output used/notes.txt: this path is in use"),
        (["--config", "tiny.yaml", "--output", "used/notes.txt/out"], "used/notes.txt/out"),
    ],
)
def test_compare_refuses_what_it_cannot_use(tmp_path, capsys, options, message):
    """A wrong option ends `compare` with exit code 2 and one line, before anything runs or is written."""
    written_study(tmp_path)
    Path("used").mkdir()
    Path("used/notes.txt").write_text("mine", encoding="utf-8")
    assert message in refusal(capsys, "compare", *options)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "tiny.yaml",
        "used",
        "used/notes.txt",
    ]
    assert Path("used/notes.txt").read_text(encoding="utf-8") == "mine"


def test_an_unknown_strategy_is_refused(tmp_path, capsys):
    """The message says where a study names a strategy that does not exist, before anything runs."""
    config = written_study(tmp_path, strategies={"norm": {"class_path": "NromClip"}})
    line = refusal(capsys, "compare", "--config", config, "--output", "out")
    assert line == f"{config}: strategies.norm: there is no class 'NromClip'; did you mean 'NormClip'?"
    assert not Path("out").exists()
