"""`StudyProgress`: the progress of a study."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from lightning_clip.cli.progress import StudyProgress
from tests.support.studies import result

LOST = result("none", 1, diverged=True, diverged_at_step=9)


def shown(*, terminal: bool, done: int = 0) -> str:
    console = Console(file=StringIO(), width=120, force_terminal=terminal, _environ={})
    finished = [result("none", seed) for seed in range(7, 7 + done)]
    with StudyProgress(console, "tiny", 4, finished=finished) as progress:
        progress.advance(result())
        progress.advance(LOST)
    return console.file.getvalue()


def test_a_pipe_gets_a_line_for_each_run():
    """Without a terminal, each run is a line with the count, the run and its outcome."""
    assert shown(terminal=False) == (
        "[1/4] mlp, norm-1.0, seed 0: 0.2 s\n[2/4] mlp, none, seed 1: diverged at step 9\n"
    )


def test_a_line_names_the_setting_and_what_came_of_it():
    """If there is a task to solve, the line says whether the run solved it, and at which step."""
    console = Console(file=StringIO(), width=60, _environ={})
    run = result("norm-1.0", 2, axes={"length": 50}, steps=2500, seconds=9.71)
    with StudyProgress(console, "tiny", 25, finished=[result("none", 8), result("none", 9)]) as progress:
        progress.advance(replace(run, metrics={"solved": 1.0, "steps_to_solve": 1250}))
        progress.advance(replace(run, metrics={"solved": 0.0, "steps_to_solve": None}))
        progress.advance(replace(run, metrics={"solved": 0.0, "steps_to_solve": None, "dead": 1.0}, steps=500))
    assert console.file.getvalue() == (
        "[3/25] mlp, norm-1.0, length 50, seed 2: solved at step 1,250 (9.7 s)\n"
        "[4/25] mlp, norm-1.0, length 50, seed 2: not solved in 2,500 steps (9.7 s)\n"
        "[5/25] mlp, norm-1.0, length 50, seed 2: dead at step 500 (9.7 s)\n"
    )


def test_a_resumed_study_goes_on_counting():
    """Runs that finished earlier count."""
    assert shown(terminal=False, done=2).startswith("[3/4] ")


def test_a_terminal_gets_a_bar_that_goes():
    """In a terminal, a bar shows the progress and the latest run, and is cleared at the end."""
    text = shown(terminal=True)
    assert "tiny" in text
    assert "2/4" in text
    assert "none, seed 1: diverged at step 9" in text
    assert "[1/4]" not in text
    assert text.rstrip().endswith("\x1b[2K")


def test_the_terminal_is_left_whole_after_an_interrupt():
    """The cursor comes back after an interrupt."""
    console = Console(file=StringIO(), width=120, force_terminal=True, _environ={})
    with pytest.raises(KeyboardInterrupt), StudyProgress(console, "tiny", 4):
        raise KeyboardInterrupt
    assert "\x1b[?25h" in console.file.getvalue()


def test_names_are_shown_as_they_are():
    """Brackets in a name are not markup."""
    console = Console(file=StringIO(), width=120, _environ={})
    with StudyProgress(console, "tiny", 1) as progress:
        progress.advance(result("[bold]x[/nothing]"))
    assert "[bold]x[/nothing], seed 0" in console.file.getvalue()


def test_a_terminal_shows_the_medians_so_far():
    """The table of the comparison is redrawn with each run, and an estimate of the time left is beside the bar."""
    console = Console(file=StringIO(), width=120, height=40, force_terminal=True, _environ={})
    with StudyProgress(console, "tiny", 4) as progress:
        for seed, error in enumerate((2.0, 4.0, 9.0)):
            progress.advance(result(seed=seed, metrics={"test_mse": error}))
        progress.advance(LOST)
    text = console.file.getvalue()
    assert "[2–9]" in text
    assert "1 of 1, step 9" in text
    assert "left:" in text


def test_a_table_higher_than_the_terminal_shows_the_latest_rows():
    """The rows whose runs finished last stay, and a line counts the others."""
    console = Console(file=StringIO(), width=100, height=14, force_terminal=True, _environ={})
    with StudyProgress(console, "tiny", 30) as progress:
        for number in range(20):
            progress.advance(result(f"norm-{number}"))
    last = console.file.getvalue().rpartition("strategy")[2]
    assert "norm-19" in last
    assert "norm-3 " not in last
    assert "16 more rows finished earlier" in last
