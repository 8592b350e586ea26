"""`lightning-clip completion`: in each shell that is installed, a tab completes what was typed."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

from lightning_clip.cli.completion import script
from tests.support.command import call, refusal

STUB = "lightning-clip() { echo \"<<$*>>\"; }\nPS1='ready> '\n"
FISH = 'function lightning-clip; echo "<<$argv>>"; end\nfunction fish_prompt; echo "ready> "; end\n'
SHELLS = {
    "bash": (["bash", "--noprofile", "--rcfile", "start", "-i"], "start", STUB),
    "fish": (["fish", "--no-config", "-C", "source start", "-i"], "start", FISH),
    "zsh": (["zsh", "-i"], ".zshrc", STUB),
}


class Terminal:
    """A shell in a terminal of its own, in a folder that is also its home."""

    def __init__(self, argv, folder):
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            home = {"HOME": str(folder), "ZDOTDIR": str(folder), "TERM": "dumb"}
            os.execvpe(argv[0], argv, {**os.environ, **home})
        self.shown = ""

    def wait_for(self, pattern):
        deadline = time.monotonic() + 60
        while not (found := re.search(pattern, self.shown)):
            assert time.monotonic() < deadline, self.shown
            if select.select([self.end], [], [], 0.1)[0]:
                self.shown += os.read(self.end, 65536).decode(errors="replace")
        self.shown = self.shown[found.end() :]
        return found[1]

    def type(self, text):
        os.write(self.end, text.encode())

    def close(self):
        os.close(self.end)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_tab_completes(shell, tmp_path):
    """In an interactive shell: commands, options, names, both forms of an option with a name, and files."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    argv, file, stub = SHELLS[shell]
    (tmp_path / file).write_text(script(shell) + stub)
    (tmp_path / "run.jsonl").touch()
    terminal = Terminal(argv, tmp_path)
    try:
        for typed, completed in [
            ("repo", "report"),
            ("report --fo", "report --follow"),
            ("report ru", "report run.jsonl"),
            ("fit --model LS", "fit --model LSTMModule"),
            ("fit --model=LS", "fit --model=LSTMModule"),
            ("fit --config clip/norma", "fit --config clip/normalize_"),
            ("compare --config rnn-add", "compare --config rnn-adding"),
            ("fit --trainer.ca", "fit --trainer.callbacks+="),
        ]:
            terminal.wait_for("(ready)> ")
            terminal.type(f"lightning-clip {typed}\t\n")
            assert terminal.wait_for("<<(.*?) *>>") == completed
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["co"], ["compare", "completion"]),
        (
            ["fit", "--config", "clip/no"],
            ["clip/none", "clip/norm", "clip/normalize_ada_gn", "clip/normalize_gradient"],
        ),
        (["fit", "--model", "=", "LS"], ["LSTMModule"]),
    ],
)
def test_bash_offers_these(typed, completed):
    """What bash offers for words; `--model=LS` is three of them."""
    words = " ".join(f"'{word}'" for word in ["lightning-clip", *typed])
    test = f'COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _lightning_clip; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", f"{script('bash')}\n{test}"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == completed


def test_the_command_prints_the_script(capsys):
    """One argument names the shell, and the scripts cover the same commands; another shell is refused in one line."""
    commands = [set(re.findall(r"(\w+):\*", script(shell))) for shell in SHELLS]
    assert commands[0] == commands[1] == commands[2] > {"fit", "completion", "predict"}
    assert call("completion", "fish") == 0
    assert capsys.readouterr().out == script("fish")
    assert "invalid choice: 'ksh' (choose from 'bash', 'fish', 'zsh')" in refusal(capsys, "completion", "ksh")
