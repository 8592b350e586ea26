"""Hooks of MkDocs: a page per strategy and per room of the package, and equations that need no script."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
EQUATION = re.compile(r'<(div|span) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>', re.DOTALL)
CAPTION = (
    "The norm of each step of one recorded run before (gray) and after this rule (blue), and its limit, if it has one "
    "for all parameters. The run is the same on every page."
)
ROOMS = ("callbacks", "core", "sinks", "reports", "modules", "datamodules", "studies", "functional")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are written from the package."""
    for path, text in (*_strategy_pages(), *_room_pages()):
        files.append(File.generated(config, path, content=text))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the written pages into the navigation, where it names their folders."""
    pages = {
        "strategies/": ["strategies/index.md", *(path for path, _ in _strategy_pages())],
        "reference/": [path for path, _ in _room_pages()],
    }
    config.nav = [
        {title: pages.get(entry, entry) if isinstance(entry, str) else entry for title, entry in part.items()}
        for part in config.nav or []
    ]
    return config


def on_page_content(html: str, **_: Any) -> str:
    """Turn equations into MathML, which browsers show without a script."""
    return EQUATION.sub(lambda found: _math(found[2], block=found[1] == "div"), html)


def _math(latex: str, *, block: bool) -> str:
    text = re.sub(r"\\lVert(.*?)\\rVert", r"{\\Vert\1\\Vert}", latex)
    text = text.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
    return convert(text, display="block" if block else "inline").replace(r"\_", "_")


def _strategy_pages() -> Iterator[tuple[str, str]]:
    for name, module in _sorted(_exported("lightning_clip.strategies")):
        file = module.rpartition(".")[2]
        if file == "clip_strategy":
            continue
        page = f"# {name}\n\n::: {module}.{name}\n    options: {{show_root_heading: false}}\n"
        if (ROOT / "docs" / "pictures" / "strategies" / f"{file}.svg").exists():
            page += f"\n## On a run\n\n![{name}](../pictures/strategies/{file}.svg)\n\n{CAPTION}\n"
        yield f"strategies/{file}.md", page


def _room_pages() -> Iterator[tuple[str, str]]:
    for room in ROOMS:
        names = _sorted(_exported(f"lightning_clip.{room}"))
        blocks = "\n".join(f"::: {module}.{name}\n" for name, module in names)
        yield f"reference/{room}.md", f"# {room}\n\n{blocks}"


def _sorted(names: dict[str, str]) -> list[tuple[str, str]]:
    return sorted(names.items(), key=lambda item: item[0].lower())


def _exported(module: str) -> dict[str, str]:
    """The names that a module exports, each with the module that defines it; nothing is imported."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported: dict[str, str] = {}
    starred: dict[str, str] = {}
    listed: list[str] | None = None
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lightning_clip."):
            if node.names[0].name == "*":
                starred |= _exported(node.module)
            else:
                imported |= {alias.name: node.module for alias in node.names}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            listed = ast.literal_eval(node.value)
    return starred if listed is None else {name: imported.get(name) or starred.get(name, module) for name in listed}
