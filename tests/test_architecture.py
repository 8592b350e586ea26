"""The house rules that no type checker knows: who may import whom, how long a file may be, what has a test."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "lightning_clip"
FILES = sorted(PACKAGE.rglob("*.py"))
NUMERIC = {"torch", "numpy"}
EXTRAS = {"matplotlib", "dask", "distributed", "ray"}

# What the files of a folder may import beside the standard library and each other. `__init__`, `__main__` and `cli`
# may import everything, and are not named here: nothing imports them.
MAY_IMPORT = {
    "_lazy": set(),
    "_version": set(),
    "errors": set(),
    "compat": {"lightning", *NUMERIC},
    "functional": {"torch"},
    "core": {"functional", *NUMERIC},
    "strategies": {"core", "functional", *NUMERIC},
    "sinks": {"core", "numpy", "orjson"},
    "reports": {"core", "numpy", "rich", "matplotlib"},
    "callbacks": {"core", "functional", "strategies", "sinks", "reports", "compat", "lightning", *NUMERIC},
    "callbacks/rich_gradient_report": {"core", "reports", "callbacks", "compat", "lightning", "rich"},
    "modules": {"lightning", "torchmetrics", "sklearn", *NUMERIC},
    "datamodules": {"lightning", "torchmetrics", "sklearn", *NUMERIC},
    "studies": {
        *("callbacks", "core", "functional", "strategies", "modules", "datamodules", "reports", "sinks", "errors"),
        *("_version", "lightning", "joblib", "jsonargparse", "rich", "matplotlib", "yaml", *NUMERIC),
        *("dask", "distributed", "ray"),
    },
}
UNBOUND = {"__init__", "__main__", "cli", "lightning_cli"}
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())


def imports(node: ast.AST) -> Iterator[str]:
    """Dotted names of what is imported at or below a node, ours without the name of the package."""
    for child in ast.walk(node):
        names = [alias.name for alias in child.names] if isinstance(child, ast.Import) else []
        if isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: write imports in full"
            names = [child.module or ""]
        for name in names:
            if name.partition(".")[0] not in sys.stdlib_module_names | {"typing_extensions"}:
                yield name.removeprefix("lightning_clip.")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@every_file
def test_a_file_imports_what_its_layer_may(path):
    """Layers know only what is below them."""
    name = path.relative_to(PACKAGE).with_suffix("").as_posix()
    layer = name.partition("/")[0]
    if layer in UNBOUND:
        return
    allowed = MAY_IMPORT.get(name, MAY_IMPORT[layer] | {layer}) | {"_lazy"}
    wrong = {imported for imported in imports(tree_of(path)) if imported.partition(".")[0] not in allowed}
    assert not wrong, f"{name} may import {sorted(allowed)}, not {sorted(wrong)}"


@every_file
def test_an_extra_is_paid_for_when_it_is_used(path):
    """Matplotlib, Dask and Ray are imported inside functions only, so that they may be missing."""
    top = [node for node in tree_of(path).body if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.If)]
    assert not [name for node in top for name in imports(node) if name.partition(".")[0] in EXTRAS]


@pytest.mark.parametrize("name", ["summary", "diagnosis"])
def test_report_data_does_not_know_how_it_is_shown(name):
    """Summary and diagnosis, and whatever of the reports they use, import neither rich nor matplotlib."""
    seen, waiting = set(), [f"reports.{name}"]
    while waiting:
        module = waiting.pop()
        seen.add(module)
        found = set(imports(tree_of(PACKAGE.joinpath(*module.split(".")).with_suffix(".py"))))
        assert not {n for n in found if n.partition(".")[0] in {"rich", "matplotlib"}}, module
        waiting += [n for n in found if n.startswith("reports.") and n not in seen]


@every_file
def test_a_file_is_short_and_silent(path):
    """At most 250 lines, and nothing is printed by a library."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250
    calls = [node.func for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]


@pytest.mark.parametrize("folder", ["strategies", "callbacks", "modules", "datamodules"])
def test_every_file_that_is_on_offer_has_its_test(folder):
    """`strategies/x.py` is tested by `tests/strategies/test_x.py`, where the folder offers a name from it."""
    offered = imports(tree_of(PACKAGE / folder / "__init__.py"))
    names = {name.removeprefix(f"{folder}.") for name in offered if name.startswith(f"{folder}.")}
    missing = sorted(name for name in names if not (TESTS / folder / f"test_{name}.py").exists())
    assert names
    assert not missing, f"tests/{folder}/ lacks {[f'test_{name}.py' for name in missing]}"


def test_references_are_independent():
    """What is compared with our code never uses it."""
    for path in (TESTS / "references").glob("*.py"):
        assert not [name for name in imports(tree_of(path)) if "lightning" in name], path.name
