"""The section on the worst steps."""

import math

import numpy as np
import pytest

from lightning_clip.core import RunInfo
from lightning_clip.reports import Evidence, render_report, to_text
from lightning_clip.reports.sections.worst import worst_of, worst_steps
from tests.reports.runs import bad_batch
from tests.support.recorded import history_of

QUIET = np.exp(0.3 * np.random.default_rng(0).standard_normal(100)).tolist()


def shown(history, *, width: int = 100) -> list[str]:
    lines = to_text(render_report(history, RunInfo()), width=width).splitlines()
    if not any("orst steps" in line for line in lines):
        return []
    start = next(i for i, line in enumerate(lines) if "orst steps" in line)
    return lines[start : lines.index("", start)]


def test_a_run_without_bad_steps_has_no_such_section():
    """Noise is not worth a table."""
    assert shown(history_of(QUIET)) == []


def test_the_worst_come_first_with_their_place_and_what_clipping_did():
    """Each row has step, epoch, batch, norm before and after, factor, loss, and the largest gradient with its share."""
    title, head, *rows = shown(bad_batch()[0])
    assert title == "  Worst steps (× the median of the steps before)"
    assert " ".join(head.split()) == "Step epoch batch norm before → after × loss largest gradient share"
    assert rows[0].split() == ["220", "5", "20", "3,000", "→", "4", "1,730", "1.2e+05", "net.0.weight", "50%"]
    assert len(rows) == 5


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_fits(width: int):
    """Long names are cut at their beginning."""
    history = history_of(
        [*QUIET, 500.0, 1.0], shares={"encoder.layers.4.lstm_forward.weight_hh_l0": 1.0}, batches_per_epoch=9
    )
    rows = shown(history, width=width)
    assert max(map(len, rows)) <= width
    assert "weight_hh_l0" in rows[-1]


def test_the_first_bad_step_is_listed_and_a_skipped_one_says_so():
    """A NaN has no factor; the first of them is enough."""
    norms = [*QUIET, math.nan, math.nan, 50.0, 1.0]
    rows = shown(history_of(norms, skipped=[100, 101]))
    assert rows[2].split()[:4] == ["100", "NaN", "→", "skipped"]
    assert [row.split()[0] for row in rows[2:]] == ["100", "102"]


def test_records_of_the_first_version_have_no_columns_for_what_they_lack():
    """Without epochs and parameters, step, norm, factor and loss are left."""
    _, head, row = shown(history_of([*QUIET, 500.0, 1.0]))
    assert head.split() == ["Step", "norm", "×", "loss"]
    assert row.split()[:2] == ["100", "500"]


def test_the_first_steps_are_compared_with_the_whole_run():
    """There are no norms before them."""
    one = Evidence.of(history_of([900.0, *QUIET]), RunInfo()).optimizers[0]
    (worst,) = worst_of(one)
    assert worst.record.step == 0
    assert worst.factor == pytest.approx(900.0 / one.part.median)


def test_each_optimizer_has_its_own_table():
    """The title says which."""
    history = history_of([*QUIET, 500.0, 1.0], optimizer=0)
    history = history_of(QUIET, optimizer=1, into=history)
    tables = list(worst_steps(Evidence.of(history, RunInfo())))
    assert [table.title for table in tables] == ["Optimizer 0: worst steps"]
