"""What a Markdown page contains: blocks of code, commands and links."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its page, the line above its text, its language, its text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.stem}:{self.line}"


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, of one language if given."""
    text = page.read_text(encoding="utf-8")
    found = [Block(page, text[: one.start()].count("\n") + 1, one[1], one[2]) for one in FENCE.finditer(text)]
    assert text.count("```") == 2 * len(found), f"{page}: a fence is not closed"
    return [block for block in found if language in (None, block.language)]


def commands(page: Path) -> list[str]:
    """The commands in the console blocks (the lines after `$`), with continued lines joined and comments removed."""
    joined = [block.text.replace("\\\n", " ") for block in blocks(page, "console")]
    lines = [line for text in joined for line in text.splitlines() if line.startswith("$ ")]
    return [re.sub(r"\s+#.*", "", line.removeprefix("$ ")) for line in lines]


def run(block: Block) -> None:
    """Run a Python block on its own."""
    exec(compile("\n" * block.line + block.text, block.page, "exec"), {"__name__": block.page.stem})
