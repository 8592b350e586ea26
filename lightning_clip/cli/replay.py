"""`replay`: a bad step taken again, with the module of a configuration or of options."""

import json

from lightning.pytorch import LightningModule

from lightning_clip._errors import InputError
from lightning_clip.cli.fit import module_of
from lightning_clip.cli.parser import OneLineParser
from lightning_clip.cli.report import console_of
from lightning_clip.replays.capture import load_capture
from lightning_clip.replays.replay import replay
from lightning_clip.reports.text import to_text


def replay_file(path: str, options: list[str], *, as_json: bool = False, width: int | None = None) -> int:
    """Take a bad step again, and print what was found out.

    Args:
        path: A file that `BadStepCapture` wrote.
        options: `--config`, `--model` and `--data`, as for `fit`.
        as_json: Whether to print plain data instead of text.
        width: Characters per line; those of the terminal by default.

    Returns:
        The exit code.

    Raises:
        InputError: The file is no capture, or the module does not fit it.
        OSError: There is no such file.
    """
    OneLineParser.given = lambda: {path}
    capture = load_capture(path)
    if not any(option.startswith(("--config", "--model", "-c")) for option in options):
        raise InputError(
            f"replay {path}: name the module, a {capture.model}: --config FILE with the configuration of the run, or "
            f"--model {capture.model} with its options"
        )
    module: LightningModule = module_of(options)
    result = replay(capture, module)
    console = console_of(width)
    if as_json:
        console.file.write(json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n")
    else:
        color = console.is_terminal and not console.no_color
        console.file.write(to_text(result.report(), width=console.width, color=color) + "\n")
    return 0
