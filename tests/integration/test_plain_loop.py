"""`clip_` in a plain PyTorch loop does the same as `GradientClipping` with the Trainer."""

from copy import deepcopy

import pytest

from tests.support.examples import example
from tests.support.regression import STEPS, STRATEGIES, as_of_a_loop, with_a_trainer
from tests.support.training import assert_same_weights


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: type(strategy).__name__)
def test_it_gives_the_weights_and_records_of_the_trainer(strategy):
    """Weights and records are the same, bit for bit, including a spike."""
    loop = example("06_plain_loop")
    ours, theirs = loop.network(), loop.network()
    history = loop.train(ours, loop.batches(STEPS), deepcopy(strategy))
    expected = with_a_trainer(theirs, loop.batches(STEPS), strategy)
    assert_same_weights(ours, theirs)
    assert list(history) == as_of_a_loop(expected)
    assert [name.removeprefix("net.") for name in expected.parameters.names] == history.parameters.names
    assert history.parameters.clipped.tolist() == expected.parameters.clipped.tolist()
    assert any(record.clipped or record.skipped for record in history)


def test_the_example_prints_a_report(capsys):
    """The script prints how many steps were clipped."""
    example("06_plain_loop").main()
    assert "clipped 1 of 200 steps" in capsys.readouterr().out
