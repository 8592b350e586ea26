"""CONTRIBUTING.md agrees with the code: its files and functions exist, and its table of layers is the enforced one."""

import re
from pathlib import Path

from tests.test_architecture import MAY_IMPORT

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "lightning_clip"
FILES = sorted(set(re.findall(r"`([\w/]+\.(?:py|md|yaml))`", TEXT)) - {"strategies/x.py", "tests/strategies/test_x.py"})
PLACES = sorted(set(re.findall(r"`([\w.]+)`\s+\(`([\w/]+\.py)`\)", TEXT)))


def path_of(name: str) -> Path:
    """The file of the repository or of the package with a name."""
    return next((folder / name for folder in (ROOT, PACKAGE) if (folder / name).exists()), PACKAGE / name)


def test_its_files_exist():
    """Every file that it names exists, in the repository or in the package."""
    names = [name for name in FILES if not name.endswith("/x.yaml")]
    assert len(names) > 40
    assert [name for name in names if not path_of(name).is_file()] == []


def test_its_functions_are_where_it_says():
    """Every function, class or table is defined in the file that follows it in parentheses."""
    assert len(PLACES) > 40
    missing = [
        f"{file} does not define {part}"
        for name, file in PLACES
        for part in name.split(".")
        if not re.search(rf"\b(def|class) {part}\b|^{part}\b.*=", path_of(file).read_text("utf-8"), re.MULTILINE)
    ]
    assert missing == []


def test_its_layers_are_those_of_the_architecture_test():
    """Its table of layers lists every room with what the room may import."""
    section = TEXT.partition("\n### Layers\n")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| `([\w/]+)` \| (.*)\|$", section, re.MULTILINE)
    assert {room: set(re.findall(r"`([\w]+)`", allowed)) for room, allowed in rows} == MAY_IMPORT


def test_it_draws_every_room():
    """Its drawing of the house shows every folder of the package."""
    drawing = TEXT.partition("```\n")[2].partition("```")[0]
    folders = {path.parent.name for path in PACKAGE.rglob("*.py")} - {"lightning_clip"}
    assert set(re.findall(r"(\w+)/", drawing)) - {"lightning_clip"} == folders
