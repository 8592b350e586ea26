"""What the package exports and ships, and what importing it costs."""

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
NAMES = PYPROJECT.parent / "docs" / "public-names.md"
RECORD = Path(__file__).parent / "data" / "first_version" / "run.jsonl"
ROOMS = [
    "core",
    "functional",
    "strategies",
    "sinks",
    "callbacks",
    "modules",
    "datamodules",
    "replays",
    "reports",
    "studies",
]
PACKAGES = ["lightning_clip", *(f"lightning_clip.{room}" for room in ROOMS)]

# The public names. Adding one is a minor release, removing one a major release: both belong in the changelog.
PUBLIC = [
    "AGC",
    "Action",
    "AdaGC",
    "AdaptiveMaxClip",
    "AdaptiveSpectralClip",
    "AddingProblemDataModule",
    "AlertSink",
    "AutoClip",
    "BadStepCapture",
    "Blend",
    "Chain",
    "CharTextDataModule",
    "Chunk",
    "ChunkedSequenceDataModule",
    "Clamp",
    "ClipStrategy",
    "ClipThresholdFinder",
    "CoordinateClip",
    "CsvSink",
    "DivergenceRollback",
    "EmaRatioClip",
    "GRUModule",
    "GradientClipping",
    "GradientMonitor",
    "Gradients",
    "GroupEmaClip",
    "GroupNormClip",
    "GrowthLimitClip",
    "JsonlSink",
    "Keep",
    "LSTMModule",
    "Ladder",
    "LoggerReport",
    "MLPRegressor",
    "MemorizationDataModule",
    "MultiplicationDataModule",
    "NoClip",
    "NonFiniteGuard",
    "NormClip",
    "NormalizeAdaGN",
    "NormalizeGradient",
    "PerParameterNormClip",
    "PerParameterRatioClip",
    "QuantileClip",
    "RNNModule",
    "RandomPermutationDataModule",
    "RecurrentSpectrumMonitor",
    "RegressionDataModule",
    "RichGradientReport",
    "RobustClip",
    "RunRecord",
    "Scale",
    "ScaleEach",
    "SequentialDigitsDataModule",
    "Shadow",
    "SkipAbove",
    "SkipBatches",
    "SkipSpikes",
    "SoftClip",
    "SpectralClip",
    "SpikeClip",
    "SpikeDetector",
    "StatefulMixin",
    "StrategySchedule",
    "StrategySwitcher",
    "TBPTTModule",
    "TBPTTSequenceModule",
    "TemporalGradientMonitor",
    "TemporalOrderDataModule",
    "ThresholdSchedule",
    "Tightest",
    "TimeSeriesDataModule",
    "TruncatedBPTTMixin",
    "UpdateMonitor",
    "UpdateRMSClip",
    "ValueClip",
    "WebhookSink",
    "ZClip",
    "clip_",
    "load_record",
    "read_jsonl",
    "replay",
]


def script_of(code: str, after: str) -> str:
    """A script that prints the modules that `code` imports and `after` does not."""
    return (
        f"import sys, json\n{after}\nbefore = set(sys.modules)\n{code}\n"
        "json.dump(sorted(set(sys.modules) - before), sys.stdout)"
    )


def imported_by(code: str) -> set[str]:
    """The modules that `code` imports in a fresh interpreter."""
    command = [sys.executable, "-c", script_of(code, "pass")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return set(json.loads(done.stdout))


def imported_beside_lightning_by(code: str, folder: Path, *, after: str) -> set[str]:
    """The modules that `code` imports in an interpreter that has imported Lightning."""
    done = run(["-c", script_of(code, after)], folder)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def packages_of(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_an_import_costs_next_to_nothing(tmp_path):
    """After `import lightning`, `import lightning_clip` imports only three small files of the package."""
    modules = imported_beside_lightning_by("import lightning_clip", tmp_path, after="import lightning")
    assert modules == {"lightning_clip", "lightning_clip._lazy", "lightning_clip._version"}


def test_what_training_uses_brings_no_reports_or_data(tmp_path):
    """Callbacks and strategies do not import scikit-learn, joblib, matplotlib, jsonargparse or the reports."""
    code = "from lightning_clip import GradientClipping, JsonlSink, NormClip, RichGradientReport"
    modules = imported_beside_lightning_by(code, tmp_path, after="import lightning.pytorch")
    assert not packages_of(modules) & {"rich", "sklearn", "joblib", "matplotlib", "jsonargparse", "scipy"}
    assert not {name for name in modules if name.startswith(("lightning_clip.reports", "lightning_clip.modules"))}


def test_reading_a_record_needs_no_lightning():
    """Reading a record and rendering its report do not import Lightning."""
    names = "from lightning_clip import load_record, read_jsonl\nfrom lightning_clip.reports import render_report\n"
    modules = imported_by(f"{names}load_record({str(RECORD)!r}).report()")
    assert not packages_of(modules) & {"lightning", "pytorch_lightning", "sklearn", "joblib", "matplotlib"}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_lists_what_it_offers(name):
    """`dir` and `__all__` contain the public names, each once, and each name can be imported."""
    package = importlib.import_module(name)
    public = [one for one in dir(package) if not one.startswith("_") and one in package.__all__]
    assert sorted(public) == sorted(package.__all__)
    assert len(set(package.__all__)) == len(package.__all__)
    assert all(getattr(package, one) is not None for one in package.__all__)


def test_the_public_names_are_these():
    """`lightning_clip.__all__` is a fixed list, sorted as ruff sorts it; `dir` shows the same names."""
    assert lightning_clip.__all__ == PUBLIC
    assert dir(lightning_clip) == sorted(PUBLIC)


def test_every_public_name_comes_from_one_room():
    """Each public name is defined in exactly one room, and the package returns the same object as the room."""
    rooms = [importlib.import_module(f"lightning_clip.{room}") for room in ROOMS]
    for name in PUBLIC:
        (room,) = [room for room in rooms if name in room.__all__]
        assert getattr(lightning_clip, name) is getattr(room, name)


def test_every_public_name_is_in_the_documentation():
    """A page names everything that `lightning_clip` exports."""
    text = NAMES.read_text(encoding="utf-8")
    assert [name for name in PUBLIC if f"`{name}`" not in text] == []


def test_what_is_not_there_is_an_attribute_error():
    """A misspelled name raises the same error as in any other module."""
    with pytest.raises(AttributeError, match="module 'lightning_clip' has no attribute 'NromClip'"):
        lightning_clip.NromClip  # noqa: B018
    assert not hasattr(lightning_clip, "_private")


def test_the_version_is_that_of_the_distribution():
    """`__version__` is the version that the build reads and the version that is installed."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    source = project["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    module, _, attribute = source.rpartition(".")
    assert project["project"]["dynamic"] == ["version"]
    assert getattr(importlib.import_module(module), attribute) == lightning_clip.__version__
    assert distribution("lightning-clip").version == lightning_clip.__version__
    assert f"\nversion: {lightning_clip.__version__}\n" in (PYPROJECT.parent / "CITATION.cff").read_text(
        encoding="utf-8"
    )


def test_the_command_is_installed():
    """The command `lightning-clip` runs `lightning_clip.cli.main`."""
    from lightning_clip.cli.main import main

    (script,) = entry_points(group="console_scripts", name="lightning-clip")
    assert script.load() is main


def test_type_checkers_may_trust_the_package():
    """`py.typed` is in the package and is shipped with it."""
    assert files("lightning_clip").joinpath("py.typed").is_file()
    data = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    assert "py.typed" in data["lightning_clip"]


def test_every_package_is_shipped():
    """The build includes every folder that contains code, and the configurations."""
    setuptools = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["setuptools"]
    root = PYPROJECT.parent
    folders = {path.parent.relative_to(root) for path in (root / "lightning_clip").rglob("*.py")}
    names = {".".join(folder.parts) for folder in folders}
    assert set(setuptools["packages"]) == names | {"lightning_clip.configs"}
    assert built_in_studies()
