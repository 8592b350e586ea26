"""`study_list`: the built-in studies, from the first lines of their files; nothing heavy is imported."""

import re
from importlib.resources import files

from lightning_clip._errors import InputError

_TIME = re.compile(r"(About|Less than) ([^.]*(?:\.\d+)?[^.]*) on 2 cores\.$")


def study_list() -> str:
    """List the built-in studies.

    Returns:
        Two lines for each study: its name and about how long it takes, then what it shows.

    Raises:
        InputError: The file of a study does not begin with what it shows and how long it takes.
    """
    folder = files("lightning_clip.configs") / "studies"
    texts = {one.name.removesuffix(".yaml"): one for one in folder.iterdir() if one.name.endswith(".yaml")}
    rows = [(name, *_heading(texts[name].read_text(encoding="utf-8"))) for name in sorted(texts)]
    width = max(len(name) for name, _, _ in rows)
    lines = [f"{name:<{width}}  {time} on 2 cores\n    {what}" for name, what, time in rows]
    return "\n".join([*lines, "", "Run one with: lightning-clip compare --config NAME", ""])


def _heading(text: str) -> tuple[str, str]:
    """What a study shows, and how long it takes."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("# "):
            break
        lines.append(line.removeprefix("# "))
    time = _TIME.search(lines[-1]) if lines else None
    if time is None:
        raise InputError(f"{text[:60]!r}: a study begins with comments: what it shows, and 'About … on 2 cores.'")
    return lines[0], f"{time[1].lower()} {time[2]}"
