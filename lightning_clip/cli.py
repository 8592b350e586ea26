"""The command line: fit, validate, test, predict (LightningCLI), compare and report."""

import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_clip._version import __version__

_USAGE = """\
usage: lightning-clip COMMAND [options]

See, clip and explain gradients in PyTorch Lightning.

Train:
  fit, validate, test, predict   LightningCLI: --config FILE (several in order), --model, --data, --trainer

Compare and read:
  compare    run a study: models x strategies x seeds, and print the comparison
  report     print the report of a finished study or run again, from its files

lightning-clip COMMAND --help lists a command's options; --version prints the version.
"""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: What was typed after the program's name; `sys.argv` by default.

    Returns:
        The exit code: 0, 2 for input that cannot be used, 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if args is None else args)
    if not given or given[0] in ("-h", "--help"):
        sys.stdout.write(_USAGE)
        return 0
    if given[0] == "--version":
        sys.stdout.write(f"lightning-clip {__version__}\n")
        return 0
    commands = {"compare": _compare, "report": _report, **dict.fromkeys(_LIGHTNING_COMMANDS, _lightning)}
    if given[0] not in commands:
        return _refuse(f"{given[0]!r} is not a command; use one of {', '.join(commands)}")
    try:
        return commands[given[0]](given)
    except (ValueError, TypeError, MisconfigurationException, FloatingPointError) as error:
        if os.environ.get("LIGHTNING_CLIP_DEBUG"):
            raise
        return _refuse(str(error))


_LIGHTNING_COMMANDS = ("fit", "validate", "test", "predict")


def _refuse(message: str) -> int:
    sys.stderr.write(f"lightning-clip: {' '.join(message.split())}\n")
    return 2


class _OneLineErrors(ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the line and end with exit code 2."""
        raise SystemExit(_refuse(f"{message.rstrip('. ')}. See `{self.prog.removesuffix(' [options]')} --help`."))


class _LightningParser(_OneLineErrors, LightningArgumentParser):
    """LightningCLI's parser with one-line errors."""


def _lightning(args: list[str]) -> int:
    import lightning_clip  # noqa: F401  (short class names work once the classes exist)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        LightningCLI(
            args=args, parser_class=_LightningParser, parser_kwargs={"prog": "lightning-clip"}, **_CLI_DEFAULTS
        )
    return 0


_CLI_DEFAULTS: dict[str, Any] = {
    "save_config_kwargs": {"overwrite": True},
    "seed_everything_default": 0,
}


def _compare(args: list[str]) -> int:
    from lightning_clip.studies.compare import compare

    parser = _OneLineErrors(prog="lightning-clip compare", description="Run a study and print the comparison.")
    parser.add_argument("--config", default="mlp-regression", help="a study's YAML file, or the name of a built-in one")
    parser.add_argument("--seeds", type=PositiveInt | None, help="how many seeds, instead of the study's own number")
    parser.add_argument("--jobs", type=PositiveInt | None, help="runs at a time (default: one for each core)")
    parser.add_argument("--output", type=str | None, help="folder for the results (default: a new one under runs/)")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted study in --output")
    options = parser.parse_args(args[1:])
    output = Path(options.output) if options.output else None
    command = shlex.join(["lightning-clip", *args])
    return compare(
        options.config, seeds=options.seeds, jobs=options.jobs, output=output, resume=options.resume, command=command
    )


def _report(args: list[str]) -> int:
    from lightning_clip.studies.compare import show

    parser = _OneLineErrors(prog="lightning-clip report", description="Print a report again, from files alone.")
    parser.add_argument("path", type=str, help="a folder that compare has written, or the .jsonl record of one run")
    options = parser.parse_args(args[1:])
    return show(Path(options.path))
