"""`to_text` and `Report`: renderables as text, for callers that only print strings; `output_console` prints both."""

import sys
from io import StringIO
from typing import IO, cast

from rich import get_console
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment

from lightning_clip._errors import printable
from lightning_clip.reports.encoding import EncodableStream, encodable

__all__ = ["to_text"]


def to_text(renderable: RenderableType, *, width: int = 80, color: bool = False) -> str:
    """Render to a string.

    Args:
        renderable: The result of `render_report` or `render_comparison`.
        width: Characters per line.
        color: Whether to include terminal colors.

    Returns:
        Lines without trailing spaces; no newline at the end.

    Example:
        >>> to_text("[bold]norm[/bold]", width=20)
        'norm'
    """
    console = Console(
        file=StringIO(),
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
        _environ={},
    )
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


def output_console() -> Console:
    """A console for standard output that prints every report, in ASCII where the output knows nothing else."""
    if sys.stdout is None:  # a program without a terminal on Windows
        return Console()
    return Console(file=cast("IO[str]", EncodableStream(sys.stdout)))


class Report:
    """Renderables in sequence that print themselves both through rich and through `print`.

    Control characters in names are shown and not sent to the terminal. No line ends in blanks, so that copied text and
    redirected output are clean.

    Through `print` (that of a progress bar, for instance) width, color and encoding are those of rich's own console.

    Args:
        *parts: The renderables.
    """

    def __init__(self, *parts: RenderableType) -> None:
        self.parts = parts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in Segment.split_lines(console.render(Group(*self.parts), options)):
            yield from _without_padding(line)
            yield Segment.line()

    def __str__(self) -> str:
        console = get_console()
        text = to_text(self, width=console.width, color=console.is_terminal and not console.no_color)
        return encodable(text, getattr(console.file, "encoding", None))


def _without_padding(line: list[Segment]) -> list[Segment]:
    shown = [one if one.control else Segment(printable(one.text), one.style) for one in line]
    while shown and not shown[-1].control and not shown[-1].text.strip(" "):
        shown.pop()
    if shown and not shown[-1].control:
        shown[-1] = Segment(shown[-1].text.rstrip(" "), shown[-1].style)
    return shown
