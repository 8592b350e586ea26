"""Every example runs from top to bottom and begins with a docstring that says what it shows."""

import ast
import json
from pathlib import Path

import pytest

from tests.support.fresh import run

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
every_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)

# Arguments that make an example shorter.
SHORT = {"08_switching": ["1", "10"], "10_gan": ["1"], "11_text": [str(Path(__file__)), "1"]}

# Text that an example must print, as evidence that it ran to its end and did what its title says.
SAYS = {
    "01_one_liner": "Strategy   NormClip(max_norm=1)",
    "02_custom_strategy": "Strategy   GrowSlowly(factor=1.05)",
    "03_compare_strategies": "lightning-clip report runs/three-strategies-1/records/mlp-",
    "04_read_the_record": "CRITICAL: The norm exploded",
    "08_switching": "0 steps NaN or infinite. step 5: NoClip() → NormClip(1.0): 3 spikes in 3 steps",
    "14_find_the_bad_batch": "Exact: True. Worst sample: 333.",
    "09_gradients_through_time": "LSTM with forget biases up to log T: healthy",
    "10_gan": "Strategy   AutoClip(percentile=90",
    "11_text": "Gradient through time in",
    "12_csv_series": "test_mse",
    "13_compare_records": "after: ",
}


@every_example
def test_every_example_runs(path, tmp_path):
    """An example needs nothing but the package and finishes well within a minute on one thread."""
    done = run([str(path), *SHORT.get(path.stem, [])], tmp_path, COLUMNS="100")
    assert done.returncode == 0, done.stderr
    assert SAYS.get(path.stem, "") in done.stdout
    assert done.stdout.strip()


def test_the_notebook_runs(tmp_path, monkeypatch):
    """Its code cells run in order, and each that ends in an expression has something to show."""
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.chdir(tmp_path)
    cells = json.loads((EXAMPLES[0].parent / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    space: dict[str, object] = {}
    for source in ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]:
        *body, last = ast.parse(source).body
        exec(compile(ast.Module(body, []), "notebook.ipynb", "exec"), space)
        assert isinstance(last, ast.Expr)
        shown = eval(compile(ast.Expression(last.value), "notebook.ipynb", "eval"), space)
        assert shown is not None or ".fit(" in source


@every_example
def test_every_example_is_short(path):
    """An example has at most 60 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60


@every_example
def test_every_example_says_what_it_shows(path):
    """Every example begins with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_examples_are_numbered_in_order():
    """File names start with `01_`, `02_`, …, the order in which to read the examples."""
    numbers = [int(path.name[:2]) for path in EXAMPLES]
    assert numbers == list(range(1, len(EXAMPLES) + 1))
    assert {path.stem for path in EXAMPLES} >= SAYS.keys()
