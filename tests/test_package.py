"""What is installed, and what an import costs."""

import importlib
import json
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, entry_points
from importlib.resources import files
from pathlib import Path

import pytest

import lightning_clip
from lightning_clip.studies import built_in_studies
from tests.support.fresh import run

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
PARTS = ["core", "strategies", "sinks", "callbacks", "modules", "datamodules"]
LAZY = [
    *("lightning_clip", "lightning_clip.reports", "lightning_clip.studies"),
    *(f"lightning_clip.{part}" for part in PARTS),
]


def script_of(code: str, after: str) -> str:
    """Code that prints the modules that some other code imports, beside those that are imported already."""
    return (
        f"import sys, json\n{after}\nbefore = set(sys.modules)\n{code}\n"
        "json.dump(sorted(set(sys.modules) - before), sys.stdout)"
    )


def imported_by(code: str) -> set[str]:
    """The modules that some code imports in a fresh interpreter."""
    command = [sys.executable, "-c", script_of(code, "pass")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return set(json.loads(done.stdout))


def imported_beside_lightning_by(code: str, folder: Path, *, after: str) -> set[str]:
    """The same where `after`, Lightning, is imported already."""
    done = run(["-c", script_of(code, after)], folder)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def packages_of(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_an_import_costs_next_to_nothing(tmp_path):
    """`import lightning_clip` after `import lightning` imports three small files of its own, and nothing else."""
    modules = imported_beside_lightning_by("import lightning_clip", tmp_path, after="import lightning")
    assert modules == {"lightning_clip", "lightning_clip._lazy", "lightning_clip._version"}


def test_what_training_uses_brings_no_reports_or_data(tmp_path):
    """Callbacks and strategies come without scikit-learn, joblib, matplotlib, jsonargparse and the reports."""
    code = "from lightning_clip import GradientClipping, JsonlSink, NormClip, RichGradientReport"
    modules = imported_beside_lightning_by(code, tmp_path, after="import lightning.pytorch")
    assert not packages_of(modules) & {"rich", "sklearn", "joblib", "matplotlib", "jsonargparse", "scipy"}
    assert not {name for name in modules if name.startswith(("lightning_clip.reports", "lightning_clip.modules"))}


def test_reading_a_record_needs_no_lightning():
    """`read_jsonl` comes without Lightning, as do the reports."""
    modules = imported_by("from lightning_clip import read_jsonl\nfrom lightning_clip.reports import render_report")
    assert not packages_of(modules) & {"lightning", "pytorch_lightning", "sklearn", "joblib", "matplotlib"}


@pytest.mark.parametrize("name", LAZY)
def test_a_package_lists_what_it_offers(name):
    """`dir` and `__all__` are the public names, and each of them can be had."""
    package = importlib.import_module(name)
    public = [one for one in dir(package) if not one.startswith("_") and one in package.__all__]
    assert sorted(public) == sorted(package.__all__)
    assert len(set(package.__all__)) == len(package.__all__)
    assert all(getattr(package, one) is not None for one in package.__all__)


def test_the_package_offers_what_its_parts_do():
    """The names of the package are those of its parts; no two parts use the same name."""
    names = [name for part in PARTS for name in importlib.import_module(f"lightning_clip.{part}").__all__]
    assert sorted(lightning_clip.__all__) == sorted(names)
    assert dir(lightning_clip) == sorted(names)


def test_what_is_not_there_is_an_attribute_error():
    """A wrong name fails as it does in any module."""
    with pytest.raises(AttributeError, match="module 'lightning_clip' has no attribute 'NromClip'"):
        lightning_clip.NromClip  # noqa: B018
    assert not hasattr(lightning_clip, "_private")


def test_the_version_is_that_of_the_distribution():
    """`__version__` is where the build takes it from, and what is installed."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    source = project["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    module, _, attribute = source.rpartition(".")
    assert project["project"]["dynamic"] == ["version"]
    assert getattr(importlib.import_module(module), attribute) == lightning_clip.__version__
    assert distribution("lightning-clip").version == lightning_clip.__version__


def test_the_command_is_installed():
    """`lightning-clip` is the command line's `main`."""
    from lightning_clip.cli import main

    (script,) = entry_points(group="console_scripts", name="lightning-clip")
    assert script.load() is main


def test_type_checkers_may_trust_the_package():
    """`py.typed` lies in the package, and is shipped with it."""
    assert files("lightning_clip").joinpath("py.typed").is_file()
    data = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    assert "py.typed" in data["lightning_clip"]


def test_every_package_is_shipped():
    """Each folder with code is in the list of what is built, and the configurations are."""
    setuptools = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["setuptools"]
    root = PYPROJECT.parent
    folders = {path.parent.relative_to(root) for path in (root / "lightning_clip").rglob("*.py")}
    names = {".".join(folder.parts) for folder in folders}
    assert set(setuptools["packages"]) == names | {"lightning_clip.configs"}
    assert built_in_studies()
