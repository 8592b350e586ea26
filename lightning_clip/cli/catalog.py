"""`list`: what a command or a configuration can name, and one line on each, read without importing any of it."""

import ast
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from textwrap import wrap

import lightning_clip
from lightning_clip._checks import did_you_mean
from lightning_clip._errors import InputError
from lightning_clip.cli.parser import OneLineParser

KINDS = {
    "strategies": "clipping strategies, for GradientClipping",
    "callbacks": "callbacks of a Trainer",
    "modules": "networks, and mixins for networks of your own",
    "data": "data modules",
    "studies": "built-in studies, for `compare --config NAME`",
    "configs": "configurations of parts of a run, for `fit --config NAME`",
}
"""What can be listed, and what it is for."""

_ROOMS = {"strategies": "strategies", "callbacks": "callbacks", "modules": "modules", "data": "datamodules"}


def run(args: list[str]) -> int:
    """Run `list` with its options, and return the exit code."""
    parser = OneLineParser(prog="lightning-clip list", description="List what a command or a configuration can name.")
    parser.add_argument(
        "kind", nargs="?", choices=list(KINDS), help="; ".join(f"{kind}: {text}" for kind, text in KINDS.items())
    )
    options = parser.parse_args(args[1:])

    from rich.text import Text

    from lightning_clip.reports.text import output_console

    console = output_console()
    kind, title = options.kind, "lightning-clip list KIND, where KIND is one of"
    console.print(f"{kind}: {KINDS[kind]}" if kind else title, style="dim", markup=False, highlight=False)
    found = entries(kind) if kind else list(KINDS.items())
    width = max(len(name) for name, _ in found)
    for name, line in found:
        first, *more = wrap(line, max(20, console.width - width - 2)) or [""]
        console.print(Text.assemble((f"{name:<{width}}", "bold"), f"  {first}"), soft_wrap=True)
        for text in more:
            console.print(Text(" " * (width + 2) + text), soft_wrap=True)
    return 0


def entries(kind: str) -> list[tuple[str, str]]:
    """Return the names of a kind, each with one line on what it is.

    Args:
        kind: A key of `KINDS`.

    Example:
        >>> dict(entries("callbacks"))["GradientMonitor"]
        'Record gradients before each optimizer step; every update stays the same, bit for bit.'
    """
    if kind in _ROOMS:
        found = sorted(_classes(Path(lightning_clip.__file__).parent / _ROOMS[kind]))
        return [entry for entry in found if kind != "data" or entry[0].endswith("DataModule")]
    folder = configs_folder()
    if kind == "studies":
        return [(path.stem, _about(path)) for path in sorted((folder / "studies").glob("*.yaml"))]
    return [(name, _about(folder / f"{name}.yaml")) for name in config_names()]


def configs_folder() -> Path:
    """Return the folder of the configurations that are installed with the package."""
    return Path(str(files("lightning_clip.configs").joinpath("trainer.yaml"))).parent


def config_names() -> list[str]:
    """Return the names that `fit --config` accepts beside files, for instance `clip/norm`."""
    folder = configs_folder()
    paths = [path.relative_to(folder) for part in ("clip", "data", "model") for path in folder.glob(f"{part}/*.yaml")]
    return sorted(["trainer", *(path.with_suffix("").as_posix() for path in paths)])


def with_packaged_configs(args: list[str]) -> list[str]:
    """Replace the names of packaged configurations by their paths; a file of the user's goes first.

    Args:
        args: The words of a command, for instance `["fit", "--config", "clip/norm"]`.

    Returns:
        The words to parse.

    Raises:
        InputError: A `--config` is neither a file nor the name of a packaged configuration.
    """
    found = list(args)
    for place, word in enumerate(args):
        if word.startswith("--config="):
            found[place] = "--config=" + _path_of(word.removeprefix("--config="))
        elif place and args[place - 1] in ("--config", "-c"):
            found[place] = _path_of(word)
    return found


def _path_of(source: str) -> str:
    if Path(source).suffix in (".yaml", ".yml", ".json") or Path(source).is_file() or not source:
        return source
    known = config_names()
    similar = did_you_mean(source, known)
    if source in known:
        return str(configs_folder() / f"{source}.yaml")
    if "{" in source or "\n" in source:  # a configuration itself
        return source
    raise InputError(
        f"--config {source}: there is no such file, and no such configuration in the package"
        f"{similar or '.'} `lightning-clip list configs` lists them."
    )


def _classes(room: Path) -> Iterator[tuple[str, str]]:
    """Yield the public classes of a room with the first sentence of their docstrings."""
    imports = [node for node in _parsed(room / "__init__.py").body if isinstance(node, ast.ImportFrom)]
    for node in imports:
        names = {alias.name for alias in node.names} & set(lightning_clip.__all__)
        path = Path(lightning_clip.__file__).parent.joinpath(*str(node.module).split(".")[1:]).with_suffix(".py")
        found = _parsed(path).body if names else []
        for one in found:
            if isinstance(one, ast.ClassDef) and one.name in names:
                yield one.name, _first_paragraph(ast.get_docstring(one) or "")


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _first_paragraph(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].replace("**", "").split())


def _about(path: Path) -> str:
    """The comment that a configuration begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[0].removeprefix("# ")
