"""Every benchmark runs in a short form and has the expected rows. The times themselves are not checked."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"

SHORT = {
    "engine": {"rounds": 1, "steps": 1},
    "trainer": {"rounds": 1, "lstm_rounds": 1, "mlp_steps": 3, "lstm_steps": 1, "watched_steps": 2},
    "growth": {"rounds": 1, "real": 3, "late": 50, "recorded": 100},
    "host_reads": {"steps": 50},
    "tbptt": {"rounds": 1, "long": 100, "batches": 1, "watched_steps": 1},
    "import_and_report": {"rounds": 1, "steps": 500},
}
ROWS = {
    "engine": ["mlp", "lstm", "many"],
    "trainer": ["lstm: AutoClip", "mlp: AutoClip", "added by GradientMonitor"],
    "growth": ["AGC", "AutoClip", "ZClip", "public AutoClip", "History"],
    "host_reads": ["NormClip", "ZClip", "public AutoClip", "public ZClip", "log_dict(grad_norm(…))"],
    "tbptt": ["peak memory, T = 100 / T = 50", "throughput", "a step with / without TemporalGradientMonitor"],
    "import_and_report": ["import lightning_clip", "lightning-clip report", "its peak memory"],
}
every_benchmark = pytest.mark.parametrize("name", SHORT)


@pytest.fixture
def benchmark(monkeypatch):
    """A function that imports a script of `benchmarks/`; the modules are unloaded after the test."""
    names = [path.stem for path in FOLDER.glob("*.py")]
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


@every_benchmark
def test_every_benchmark_has_its_rows(name, benchmark):
    """Each benchmark's table has the expected rows, and each row has one cell per column."""
    table = benchmark(name).measure(**SHORT[name])
    firsts = [row[0] for row in table.rows]
    for expected in ROWS[name]:
        assert any(first.startswith(expected) for first in firsts), f"{expected!r} is not in {firsts}"
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert table.markdown().startswith(f"## {table.title}\n")
    assert table.notes


def test_only_a_skip_reads_between_flushes(benchmark):
    """No strategy except `SkipSpikes` reads the device between flushes, and a flush reads it once."""
    table = benchmark("host_reads").measure(steps=50)
    reads = {row[0]: (float(row[1]), float(row[2])) for row in table.rows}
    ours = {name: reads[name] for name in benchmark("growth").strategies()}
    assert {name for name, (between, _) in ours.items() if between} == {"SkipSpikes"}
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
