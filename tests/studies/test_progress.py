"""`StudyProgress`: how far a study is."""

from io import StringIO

import pytest
from rich.console import Console

from lightning_clip.studies.progress import StudyProgress
from tests.support.studies import result

LOST = result("none", 1, diverged=True, diverged_at_step=9)


def shown(*, terminal: bool, done: int = 0) -> str:
    console = Console(file=StringIO(), width=120, force_terminal=terminal, _environ={})
    with StudyProgress(console, "tiny", 4, done=done) as progress:
        progress.advance(result())
        progress.advance(LOST)
    return console.file.getvalue()


def test_a_pipe_gets_a_line_for_each_run():
    """Without a terminal each run is a line: how far, which, how it went."""
    assert shown(terminal=False) == (
        "[1/4] mlp, norm-1.0, seed 0: 0.2 s\n[2/4] mlp, none, seed 1: diverged at step 9\n"
    )


def test_a_resumed_study_goes_on_counting():
    """Runs that were finished before count."""
    assert shown(terminal=False, done=2).startswith("[3/4] ")


def test_a_terminal_gets_a_bar_that_goes():
    """In a terminal a bar shows how far the study is and the latest run, and is cleared at the end."""
    text = shown(terminal=True)
    assert "tiny" in text
    assert "2/4" in text
    assert "none, seed 1: diverged at step 9" in text
    assert "[1/4]" not in text
    assert text.rstrip().endswith("\x1b[2K")


def test_the_terminal_is_left_whole_after_an_interrupt():
    """The cursor comes back when the study is interrupted."""
    console = Console(file=StringIO(), width=120, force_terminal=True, _environ={})
    with pytest.raises(KeyboardInterrupt), StudyProgress(console, "tiny", 4):
        raise KeyboardInterrupt
    assert "\x1b[?25h" in console.file.getvalue()


def test_names_are_shown_as_they_are():
    """Brackets in a name are no markup."""
    console = Console(file=StringIO(), width=120, _environ={})
    with StudyProgress(console, "tiny", 1) as progress:
        progress.advance(result("[bold]x[/nothing]"))
    assert "[bold]x[/nothing], seed 0" in console.file.getvalue()
