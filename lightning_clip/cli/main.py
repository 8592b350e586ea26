"""The command line: fit, validate, test, predict (LightningCLI), compare and report."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from lightning_clip._version import __version__
from lightning_clip._errors import in_one_line, is_about_input, line_about

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
        The exit code: 0, 1 where a guard ended the training, 2 for input that cannot be used, 130 after Ctrl-C.
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
    _OneLineErrors.command = given[0]
    try:
        return commands[given[0]](given)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if not is_about_input(error):
            raise
        _refuse(line_about(error))
        return 1 if isinstance(error, FloatingPointError) else 2


_LIGHTNING_COMMANDS = ("fit", "validate", "test", "predict")


def _refuse(message: str) -> int:
    sys.stderr.write(f"lightning-clip: {' '.join(message.split())}\n")
    return 2


class _OneLineErrors(ArgumentParser):
    """A parser that says what is wrong, and in which file, in one line.

    jsonargparse makes further parsers of this class for the parts of a file: what they need is kept by the class.

    Attributes:
        command: What the user asked for.
        reading: The file that is being read, and a colon.
    """

    command: ClassVar[str] = ""
    reading: ClassVar[str] = ""

    def parse_path(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Namespace:
        """Read a file, and name it in what is said about it."""
        outer, _OneLineErrors.reading = _OneLineErrors.reading, f"{os.fspath(path)}: "
        try:
            parsed: Namespace = super().parse_path(path, *args, **kwargs)
            return parsed
        finally:
            _OneLineErrors.reading = outer

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the line and end with exit code 2."""
        line = f"{self.reading}{in_one_line(message)}. See `lightning-clip {self.command} --help`."
        raise SystemExit(_refuse(line))


def _lightning(args: list[str]) -> int:
    from lightning_clip.cli.fit import run

    return run(args, _OneLineErrors)


def _compare(args: list[str]) -> int:
    from lightning_clip.cli.compare import compare
    from lightning_clip.studies.engines import ENGINES

    parser = _OneLineErrors(prog="lightning-clip compare", description="Run a study and print the comparison.")
    parser.add_argument("--config", default="mlp-regression", help="a study's YAML file, or the name of a built-in one")
    parser.add_argument("--seeds", type=PositiveInt, help="how many seeds, instead of as many as the study says")
    parser.add_argument("--jobs", type=PositiveInt, help="runs at a time; by default one for each core, or worker")
    parser.add_argument("--engine", choices=list(ENGINES), default="processes", help=_ENGINE)
    parser.add_argument("--output", help="folder for the results; by default a new one under runs/")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted study in --output")
    options = parser.parse_args(args[1:])
    output = Path(options.output) if options.output else None
    command = shlex.join(["lightning-clip", *args])
    return compare(
        options.config,
        seeds=options.seeds,
        jobs=options.jobs,
        output=output,
        resume=options.resume,
        command=command,
        engine=ENGINES[options.engine](),
    )


_ENGINE = """\
where the runs are made: in processes of this machine (forked, or joblib's loky), on a Dask cluster
(DASK_SCHEDULER_ADDRESS, or one that is started here) or on a Ray cluster (RAY_ADDRESS, or one that is started here);
dask and ray are extras"""


def _report(args: list[str]) -> int:
    from lightning_clip.studies.story import show

    parser = _OneLineErrors(prog="lightning-clip report", description="Print a report again, from files alone.")
    parser.add_argument("path", type=str, help="a folder that compare has written, or the .jsonl record of one run")
    options = parser.parse_args(args[1:])
    return show(Path(options.path))
