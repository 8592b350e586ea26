"""The house rules that no type checker knows: who may import whom, how long a file may be, what has a test."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "lightning_clip"
FILES = sorted(PACKAGE.rglob("*.py"))
NUMERIC = {"torch", "numpy"}
EXTRAS = {"matplotlib", "dask", "distributed", "ray"}

# What the files of a room may import beside the standard library, their own room and the four helpers; the longest
# matching path counts. Those of `UNBOUND` may import everything, and nothing imports them.
MAY_IMPORT = {
    "_lazy": set(),
    "_version": set(),
    "_errors": set(),
    "_checks": set(),
    "_compat": set(),
    "functional": NUMERIC,
    "core": {"functional", *NUMERIC},
    "strategies": {"core", "functional", *NUMERIC},
    "sinks": {"core", "numpy", "orjson"},
    "reports": {"core", "numpy"},
    "reports/record": {"core", "sinks", "matplotlib"},
    "reports/text": {"rich"},
    "reports/console": {"core", "rich"},
    "reports/sections": {"core", "numpy", "rich"},
    "reports/figures": {"core", "numpy", "matplotlib"},
    "callbacks": {"core", "functional", "strategies", "sinks", "reports", "lightning", *NUMERIC},
    "callbacks/rich_gradient_report": {"core", "reports", "lightning", "rich"},
    "modules": {"lightning", "torchmetrics", "sklearn", *NUMERIC},
    "datamodules": {"lightning", "torchmetrics", "sklearn", *NUMERIC},
    "replays": {"callbacks", "core", "datamodules", "functional", "reports", "strategies", "lightning", "torch"},
    "replays/report": {"reports", "rich"},
    "studies": {
        *("callbacks", "core", "functional", "strategies", "modules", "datamodules", "reports", "sinks", "_version"),
        *("lightning", "joblib", "jsonargparse", "rich", "matplotlib", "yaml", "dask", "distributed", "ray", *NUMERIC),
    },
    "studies/comparison": {"core", "reports", "rich", "matplotlib", "numpy"},
}
HELPERS = {"_lazy", "_errors", "_checks", "_compat"}
UNBOUND = {"__init__", "__main__", "_pytorch_lightning", "cli", "pytorch_lightning"}


def imports(node: ast.AST, *, at_runtime: bool = False) -> Iterator[str]:
    """Dotted names of what is imported at or below a node, ours without the name of the package.

    Args:
        node: Any node.
        at_runtime: Whether to leave out what only type checkers import.
    """
    if at_runtime and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: write imports in full"
        names = [node.module or ""]
    for name in names:
        if name.partition(".")[0] not in sys.stdlib_module_names | {"typing_extensions"}:
            yield name.removeprefix("lightning_clip.")
    for child in ast.iter_child_nodes(node):
        yield from imports(child, at_runtime=at_runtime)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_a_file_imports_what_its_layer_may():
    """A file imports only what the table allows its layer."""
    problems = []
    for path in FILES:
        name = path.relative_to(PACKAGE).with_suffix("").as_posix()
        if name.partition("/")[0] in UNBOUND:
            continue
        room = max((known for known in MAY_IMPORT if f"{name}/".startswith(f"{known}/")), key=len)
        allowed = MAY_IMPORT[room] | {name.partition("/")[0]} | HELPERS
        nodes = tree_of(path).body
        if name == "_compat":  # importable from everywhere: it imports torch and Lightning where it uses them
            nodes = [node for node in nodes if not isinstance(node, ast.FunctionDef)]
        found = {used for node in nodes for used in imports(node, at_runtime=name == "_compat")}
        wrong = {imported for imported in found if imported.partition(".")[0] not in allowed}
        problems += [f"{name} may import {sorted(allowed)}, not {sorted(wrong)}"] * bool(wrong)
    assert not problems, "\n".join(problems)


def test_a_comparison_needs_nothing_that_runs_a_study():
    """`studies/comparison` imports no other part of `studies`."""
    for path in (PACKAGE / "studies" / "comparison").glob("*.py"):
        found = {name for name in imports(tree_of(path)) if name.startswith("studies.")}
        assert not {name for name in found if not name.startswith("studies.comparison")}, path.name


def test_no_two_modules_import_each_other():
    """No module imports itself by way of others."""
    bound = [path for path in FILES if path.stem != "pytorch_lightning"]  # somebody else's package has this name too
    modules = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in bound}
    graph = {
        name: {f"{found}.__init__" if f"{found}.__init__" in modules else found for found in imports(tree_of(path))}
        for name, path in modules.items()
    }
    for start in modules:
        seen, waiting = set(), list(graph[start])
        while waiting:
            name = waiting.pop()
            if name in modules and name not in seen:
                seen.add(name)
                waiting += graph[name]
        assert start not in seen, f"{start} imports itself, by way of others"


def test_an_extra_is_paid_for_when_it_is_used():
    """Matplotlib, Dask and Ray are imported inside functions only, because they may be missing."""
    problems = []
    for path in FILES:
        top = [node for node in tree_of(path).body if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.If)]
        found = [name for node in top for name in imports(node) if name.partition(".")[0] in EXTRAS]
        problems += [f"{path.relative_to(PACKAGE)} imports {found}"] * bool(found)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", ["reports.summary", "reports.evidence", "reports.diagnosis.__init__"])
def test_report_data_does_not_know_how_it_is_shown(name):
    """Summary, evidence and diagnosis, and whatever they use, import neither rich nor matplotlib."""
    seen, waiting = set(), [name]
    while waiting:
        module = waiting.pop()
        seen.add(module)
        found = set(imports(tree_of(PACKAGE.joinpath(*module.split(".")).with_suffix(".py"))))
        assert not {n for n in found if n.partition(".")[0] in {"rich", "matplotlib"}}, module
        waiting += [n for n in found if n.startswith("reports.") and n not in seen]


def test_no_room_is_crowded():
    """A folder of the package holds at most 20 files beside its `__init__`; strategies are one file each."""
    crowded = {
        folder.name: count
        for folder in {path.parent for path in FILES}
        if (count := len(list(folder.glob("[!_]*.py")) + list(folder.glob("_[!_]*.py")))) > 20
    }
    assert set(crowded) <= {"strategies"}, crowded


def test_a_file_is_short_and_silent():
    """A file has at most 250 lines, and library code never prints."""
    problems = []
    for path in FILES:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        problems += [f"{path.relative_to(PACKAGE)} has {lines} lines"] * (lines > 250)
        calls = [node.func for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
        prints = [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"]
        problems += [f"{path.relative_to(PACKAGE)} prints in lines {prints}"] * bool(prints)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("folder", ["strategies", "callbacks", "modules", "datamodules"])
def test_every_file_that_is_on_offer_has_its_test(folder):
    """A file whose names a room offers is tested by the file of the same name below `tests/`."""
    offered = imports(tree_of(PACKAGE / folder / "__init__.py"))
    names = {name.replace(".", "/") for name in offered if name.startswith(f"{folder}.")}
    files = {TESTS.joinpath(name).parent / f"test_{name.rpartition('/')[2]}.py" for name in names}
    assert files
    missing = sorted(path.relative_to(TESTS).as_posix() for path in files if not path.exists())
    assert not missing, f"tests/ lacks {missing}"


def test_references_are_independent():
    """The references of the tests never import the package."""
    for path in (TESTS / "references").glob("*.py"):
        assert not [name for name in imports(tree_of(path)) if "lightning" in name], path.name
