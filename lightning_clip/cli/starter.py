"""`init`: write a starter project into an empty or new folder: a network, a script, a run and a study."""

import shlex
import sys
from importlib.resources import files
from pathlib import Path

from lightning_clip._errors import InputError
from lightning_clip.cli.parser import OneLineParser

FILES = ("network.py", "train.py", "run.yaml", "study.yaml")
"""The files of a starter project."""

_NEXT = """\
Wrote {names} to {folder}. Next:
{cd}  lightning-clip fit --config run.yaml          train, and print the report of the gradients
  lightning-clip compare --config study.yaml    compare clipping strategies on the same network
  python train.py                               the same run as a script
Your own network goes into network.py, your own series into `path:` of run.yaml and study.yaml.
"""


def run(args: list[str]) -> int:
    """Run `init` with its options, and return the exit code."""
    about = "Write a starter project: a network of your own, a script, a run and a study. It never writes over a file."
    parser = OneLineParser(prog="lightning-clip init", description=about)
    parser.add_argument("folder", nargs="?", default=".", help="an empty or new folder; by default, the working folder")
    options = parser.parse_args(args[1:])
    folder = Path(options.folder)
    write(folder)
    cd = "" if folder == Path() else f"  cd {shlex.quote(options.folder)}\n"
    sys.stdout.write(_NEXT.format(names=", ".join(FILES), folder=options.folder, cd=cd))
    return 0


def write(folder: Path) -> None:
    """Write the files of a starter project.

    Args:
        folder: Where to write; made if it does not exist.

    Raises:
        InputError: The folder is a file, contains anything, or cannot be written to.
    """
    try:
        if folder.exists() and (not folder.is_dir() or next(folder.iterdir(), None) is not None):
            raise InputError(f"init {folder}: not an empty folder; name an empty or a new one")
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            text = files("lightning_clip.configs").joinpath(f"starter/{name}").read_text(encoding="utf-8")
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise InputError(f"init {folder}: {error.strerror}") from error
