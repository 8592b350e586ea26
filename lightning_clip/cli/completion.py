"""`completion`: a script for the shell that completes commands, options, kinds and names of configurations."""

import sys

from lightning_clip.cli.catalog import KINDS, config_names, entries
from lightning_clip.cli.parser import OneLineParser

_OPTIONS = {
    "fit": "--config --model --data --trainer.max_epochs --trainer.callbacks+= --ckpt_path --no-report --help-all",
    "compare": "--config --seeds --jobs --engine --output --resume --help",
    "report": "--json --fail-on --html --figures --width --follow --help",
    "replay": "--config --model --data --json --width --help",
    "suggest": "--config --model --data --num_steps --width --help",
    "list": " ".join(KINDS),
    "init": "--help",
    "completion": "bash zsh",
}

_SCRIPT = """\
_lightning_clip() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    else
        case "${{COMP_WORDS[1]}}:$previous" in
            compare:--config) words="{studies}" ;;
            *:--config) words="{configs}" ;;
            *:--model) words="{modules}" ;;
            *:--data) words="{data}" ;;
{options}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _lightning_clip lightning-clip
"""


def run(args: list[str]) -> int:
    """Run `completion` with its options, and return the exit code."""
    about = 'Print a script that completes commands, options and names. bash: eval "$(lightning-clip completion bash)"'
    parser = OneLineParser(prog="lightning-clip completion", description=about)
    parser.add_argument("shell", choices=["bash", "zsh"], help="the shell to print the script for")
    options = parser.parse_args(args[1:])
    sys.stdout.write(script(options.shell))
    return 0


def script(shell: str) -> str:
    """Return the script for a shell.

    Args:
        shell: `"bash"` or `"zsh"`, which understands the same script once `bashcompinit` is loaded.
    """
    commands = [*_OPTIONS, "validate", "test", "predict"]
    shared = dict.fromkeys(("validate", "test", "predict"), _OPTIONS["fit"])
    lines = [f'            {command}:*) words="{words}" ;;' for command, words in {**_OPTIONS, **shared}.items()]
    text = _SCRIPT.format(
        commands=" ".join(commands),
        configs=" ".join(config_names()),
        options="\n".join(lines),
        **{kind: " ".join(name for name, _ in entries(kind)) for kind in ("studies", "modules", "data")},
    )
    return text if shell == "bash" else f"autoload -U bashcompinit && bashcompinit\n{text}"
