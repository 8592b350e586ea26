"""Every benchmark runs in a short form and has the expected rows. The times themselves are not checked."""

import importlib
import re
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_clip import AutoClip, EmaRatioClip, QuantileClip
from tests.support.fresh import run

FOLDER = Path(__file__).parents[1] / "benchmarks"

SHORT = {
    "engine": {"rounds": 1, "steps": 1},
    "rules": {"rounds": 1, "warm_up": 1, "names": ("4",)},
    "floor": {"rounds": 1, "warm_up": 1},
    "trainer": {"rounds": 1, "lstm_rounds": 1, "mlp_steps": 3, "lstm_steps": 1, "watched_steps": 2},
    "growth": {"rounds": 1, "real": 3, "late": 50, "recorded": 100},
    "host_reads": {"steps": 50},
    "tbptt": {"rounds": 1, "long": 100, "batches": 1, "watched_steps": 1},
    "import_and_report": {"rounds": 1, "steps": 500, "forms": ["report, two records"]},
}
ROWS = {
    "engine": ["mlp", "lstm", "many"],
    "rules": ["AGC", "NormClip", "SpectralClip"],
    "floor": ["AGC", "CoordinateClip", "SpikeClip", "UpdateRMSClip"],
    "trainer": ["20 M LSTM: AutoClip", "small LSTM: AutoClip", "mlp: AutoClip", "added by GradientMonitor"],
    "growth": ["AGC", "AutoClip", "ZClip", "public AutoClip", "History"],
    "host_reads": ["NormClip", "ZClip", "public AutoClip", "public ZClip", "log_dict(grad_norm(…))"],
    "tbptt": ["peak memory, T = 100 / T = 50", "throughput", "a step with / without TemporalGradientMonitor"],
    "import_and_report": ["import lightning_clip", "lightning-clip report", "its peak memory", "page of 800 steps"],
}
every_benchmark = pytest.mark.parametrize("name", SHORT)


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    """A function that imports a script of `benchmarks/`; the modules are unloaded after the test."""
    with newly_loaded(monkeypatch, tmp_path) as load:
        yield load


@contextmanager
def newly_loaded(patch, folder):
    """Return a function that imports a script. Interpreters that scripts start are forked; see `fresh`."""

    def python(*args, **environment):
        done = run(args, folder, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    patch.syspath_prepend(str(FOLDER))
    patch.setattr(importlib.import_module("measuring"), "python", python)
    parameters = {"WORDS": 500, "WIDTH": 50, "many": lambda count=300: with_shape(count, (8, 8))}
    for name, value in parameters.items():
        patch.setattr(importlib.import_module("parameter_sets"), name, value)
    try:
        yield importlib.import_module
    finally:
        for path in FOLDER.glob("*.py"):
            sys.modules.pop(path.stem, None)


def with_shape(count, shape):
    """So many small tensors."""
    return nn.ParameterList([nn.Parameter(torch.randn(shape)) for _ in range(count)])


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A function that returns the table of a benchmark's short form; each benchmark runs once."""

    @cache
    def table(name):
        with pytest.MonkeyPatch.context() as patch, newly_loaded(patch, tmp_path_factory.mktemp(name)) as load:
            return load(name).measure(**SHORT[name])

    return table


@every_benchmark
def test_every_benchmark_has_its_rows(name, tables):
    """Each benchmark's table has the expected rows, and each row has one cell per column."""
    table = tables(name)
    firsts = [row[0] for row in table.rows]
    for expected in ROWS[name]:
        assert any(first.startswith(expected) for first in firsts), f"{expected!r} is not in {firsts}"
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert table.markdown().startswith(f"## {table.title}\n")
    assert table.notes


def test_only_a_skip_reads_between_flushes(benchmark, tables):
    """No strategy except `SkipSpikes` and `SkipAbove` reads the device between flushes, and a flush reads it once."""
    table = tables("host_reads")
    reads = {row[0]: (float(row[1]), float(row[2])) for row in table.rows}
    ours = {name: reads[name] for name in benchmark("growth").strategies()}
    assert {name for name, (between, _) in ours.items() if between} == {"SkipAbove", "SkipSpikes"}
    assert {at_flush for _, at_flush in ours.values()} == {1000 / 50}


def test_all_that_can_be_measured_is_in_the_results(benchmark):
    """`make bench` runs every script except the one for CUDA, and the results say that CUDA was not measured."""
    run = benchmark("run")
    assert [one.__name__ for one in run.BENCHMARKS] == list(SHORT)
    table = benchmark("measuring").Table("Engine", ("what", "ratio"), [["a", "1.0"]], ["How."])
    text = run.results([table])
    assert "CUDA was not measured" in text
    assert "| a | 1.0 |" in text
    assert " × " in text
    assert "GB/s" in text


@pytest.mark.parametrize(
    "strategy", [AutoClip(), *(pytest.param(one, marks=pytest.mark.slow) for one in (EmaRatioClip(), QuantileClip()))]
)
def test_the_table_says_what_a_quiet_run_clips(strategy, benchmark):
    """The column of the table of strategies is what `benchmarks/quiet_run.py` measures."""
    table = (Path(__file__).parent.parent / "docs" / "strategies" / "index.md").read_text(encoding="utf-8")
    shares = dict(re.findall(r"^\| \[`(\w+)`\].*\| (\d+%) \|$", table, re.MULTILINE))
    assert len(shares) > 20
    share_clipped = benchmark("quiet_run").share_clipped
    assert f"{share_clipped(strategy):.0%}" == shares[type(strategy).__name__]
