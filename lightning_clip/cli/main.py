"""`main`: run the command that the user typed, and print an error that the user can fix in one line."""

import os
import sys
from collections.abc import Sequence

from lightning_clip._checks import did_you_mean
from lightning_clip._errors import NonFiniteError, line_about
from lightning_clip._version import __version__
from lightning_clip.cli.commands import (
    run_compare,
    run_completion,
    run_fit,
    run_init,
    run_list,
    run_replay,
    run_report,
    run_suggest,
)
from lightning_clip.cli.parser import OneLineParser, refuse

_USAGE = """\
usage: lightning-clip COMMAND [options]

See, clip and explain gradients in PyTorch Lightning.

Start:
  init       write a starter project into a new folder: a network, a script, a run and a study
  list       list strategies, callbacks, modules, data, studies or configs

Train:
  fit, validate, test, predict   LightningCLI: --config FILE (may be repeated), --model, --data, --trainer

Compare and report:
  compare    run a study (models x strategies x seeds) and print the comparison
  report     print the report of a study or run from its files, or runs side by side
  suggest    print which threshold suits a run: from its record, or from --config FILE like fit
  replay     take a bad step again that BadStepCapture has written: --config FILE or --model

`lightning-clip COMMAND --help` lists the options of a command; --version prints the version.
`lightning-clip completion bash`, `fish` or `zsh` prints a script that completes commands, options and names.
"""

_COMMANDS = {
    "init": run_init,
    "list": run_list,
    "compare": run_compare,
    "report": run_report,
    "suggest": run_suggest,
    "replay": run_replay,
    **dict.fromkeys(("fit", "validate", "test", "predict"), run_fit),
    "completion": run_completion,
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: The arguments after the program name; those of `sys.argv` by default.

    Returns:
        The exit code: 0; 1 if a guard ended training or `report --fail-on` found something; 2 for input that cannot be
        used; 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if args is None else args)
    if not given or given[0] in ("-h", "--help"):
        sys.stdout.write(_USAGE)
        return 0
    if given[0] == "--version":
        sys.stdout.write(f"lightning-clip {__version__}\n")
        return 0
    if given[0] not in _COMMANDS:
        similar = did_you_mean(given[0], [*_COMMANDS, "--help", "--version"])
        return refuse(f"{given[0]!r} is not a command; use one of {', '.join(_COMMANDS)}{similar}")
    if bad := [word for word in given if "\0" in word]:
        return refuse(f"{' '.join(given)!r}: {bad[0]!r} contains a null byte, which no path does")
    OneLineParser.begin(*given)
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that a file of the user's hides no package
    try:
        return _COMMANDS[given[0]](given)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        line = line_about(error, OneLineParser.names)
        if line is None:
            raise
        refuse(line)
        return 1 if isinstance(error, NonFiniteError) else 2
