"""`completion`: a script for the shell that completes commands, options, kinds and names of configurations."""

import sys

from lightning_clip.cli.catalog import KINDS, config_names, entries
from lightning_clip.cli.parser import OneLineParser

_OPTIONS = {
    "fit": "--config --model --data --trainer.max_epochs --trainer.callbacks+= --ckpt_path --no-report --help-all",
    "compare": "--config --list --seeds --first-seed --jobs --engine --output --resume --help",
    "report": "--json --fail-on --html --figures --width --max-parameters --follow --help",
    "replay": "--config --model --data --json --width --help",
    "suggest": "--config --model --data --num_steps --width --help",
    "list": " ".join(KINDS),
    "init": "--help",
    "completion": "bash fish zsh",
}

# bash makes three words of `--model=LSTM`, zsh and fish make one.
_BASH = """\
_lightning_clip() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" before="" offers=""
    case "$word" in
        =) word="" ;;
        --*=*) previous="${{word%%=*}}" before="${{word%%=*}}=" ;;
    esac
    if [ "$previous" = "=" ]; then previous="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
    if [ "$COMP_CWORD" -eq 1 ]; then
        offers="{commands}"
    else
        case "${{COMP_WORDS[1]}}:$previous" in
{cases}
        esac
    fi
    if [ -n "$before" ]; then offers="$before${{offers// / $before}}"; fi
    COMPREPLY=($(compgen -W "$offers" -- "$word"))
}}
complete -o default -F _lightning_clip lightning-clip
"""

_ZSH = """\
(( $+functions[compdef] )) || { autoload -U compinit && compinit }
autoload -U bashcompinit && bashcompinit
"""

_FISH = """\
function __lightning_clip
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l previous $words[-1]
    set -l before ""
    set -l offers
    if string match -q -- '--*=*' $word
        set previous (string split -m 1 = -- $word)[1]
        set before $previous=
    end
    if test (count $words) -eq 1
        set offers {commands}
    else
        switch "$words[2]:$previous"
{cases}
        end
    end
    string match -- "$word*" $before$offers; or __fish_complete_path $word
end
complete -c lightning-clip -f -a '(__lightning_clip)'
"""

_CASE = '            {}) offers="{}" ;;'
_PARTS = {
    "bash": ("", _CASE, _BASH),
    "fish": ("", "            case '{}'\n                set offers {}", _FISH),
    "zsh": (_ZSH, _CASE, _BASH),
}


def run(args: list[str]) -> int:
    """Run `completion` with its options, and return the exit code."""
    about = 'Print a script that completes commands, options and names. bash: eval "$(lightning-clip completion bash)"'
    parser = OneLineParser(prog="lightning-clip completion", description=about)
    parser.add_argument("shell", choices=list(_PARTS), help="the shell to print the script for")
    options = parser.parse_args(args[1:])
    sys.stdout.write(script(options.shell))
    return 0


def script(shell: str) -> str:
    """Return the script for a shell.

    Args:
        shell: `"bash"`, `"fish"`, or `"zsh"`, which understands the script of bash once `bashcompinit` is loaded.
    """
    named = {kind: " ".join(name for name, _ in entries(kind)) for kind in ("studies", "modules", "data")}
    shared = dict.fromkeys(("validate", "test", "predict"), _OPTIONS["fit"])
    offers = {
        "compare:--config": named["studies"],
        "*:--config": " ".join(config_names()),
        "*:--model": named["modules"],
        "*:--data": named["data"],
        **{f"{command}:*": words for command, words in {**_OPTIONS, **shared}.items()},
    }
    begin, case, text = _PARTS[shell]
    cases = "\n".join(case.format(pattern, words) for pattern, words in offers.items())
    return begin + text.format(commands=" ".join([*_OPTIONS, *shared]), cases=cases)
