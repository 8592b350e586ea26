"""`StopWhenSolved`: a run ends when its task is solved, and reports the step."""

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from torch import Tensor, nn

from lightning_clip import MLPRegressor, RegressionDataModule, RNNModule, TemporalOrderDataModule
from lightning_clip.studies import StopWhenSolved
from lightning_clip.studies.metrics.stop_when_solved import evaluating, is_dead, is_solved


class Oracle(nn.Module):
    """Knows the answers, except to the first few sequences of each batch."""

    def __init__(self, data: TemporalOrderDataModule, misses: int) -> None:
        super().__init__()
        self.answers = iter([targets for _, targets in data.test_dataloader()])
        self.misses = misses
        self.batches = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.batches += 1
        targets = next(self.answers).clone()
        targets[: self.misses] = (targets[: self.misses] + 1) % 4
        return nn.functional.one_hot(targets, 4).float()


def data(**options: int) -> TemporalOrderDataModule:
    return TemporalOrderDataModule(length=10, n_test=1_000, batches_per_epoch=6, seed=0, **options)


def trained(criterion: StopWhenSolved, model: RNNModule | None = None) -> Trainer:
    trainer = Trainer(
        max_epochs=1,
        callbacks=[criterion],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    torch.manual_seed(0)
    trainer.fit(model or RNNModule(), data())
    return trainer


@pytest.mark.parametrize(("misses", "solved"), [(0, True), (4, True), (5, False)])
def test_solved_means_an_error_below_the_limit(misses, solved):
    """Of 1,000 sequences in two batches, fewer than 10 may be wrong for an error below 1%."""
    task = data()
    assert is_solved(Oracle(task, misses), task, 0.01) is solved


def test_too_many_mistakes_end_the_count():
    """A network that guesses is not tested on every sequence."""
    task = data()
    oracle = Oracle(task, 100)
    assert not is_solved(oracle, task, 0.01)
    assert oracle.batches == 1


def test_the_mode_of_the_model_is_kept():
    """A test runs in evaluation mode without autograd, and then restores the mode."""
    model = RNNModule(dropout=0.5)
    for was_training in (True, False):
        model.train(was_training)
        with evaluating(model):
            assert not model.training
            assert not torch.is_grad_enabled()
        assert model.training is was_training


def test_a_network_that_does_not_see_its_inputs_is_dead():
    """If all ReLU units are off, all sequences have the same output; a network that guesses is alive."""
    task, model = data(), RNNModule(nonlinearity="relu", init="identity")
    assert not is_dead(model, task)
    torch.nn.init.constant_(model.recurrent.bias_ih_l0, -1e9)
    assert is_dead(model, task)


def test_a_dead_run_ends():
    """A run whose units are all off stops at the next test, and is not solved."""
    criterion, model = StopWhenSolved(every_n_steps=2), RNNModule(nonlinearity="relu", init="identity")
    torch.nn.init.constant_(model.recurrent.bias_ih_l0, -1e9)
    assert trained(criterion, model).global_step == 2
    assert criterion.metrics == {"solved": 0.0, "steps_to_solve": None, "dead": 1.0}


def test_nan_is_not_called_dead():
    """NaN or infinite outputs are divergence, which has its own name."""
    task, model = data(), RNNModule()
    torch.nn.init.constant_(model.head.bias, torch.nan)
    assert not is_dead(model, task)


def test_a_run_ends_where_it_is_solved():
    """With a limit that guessing meets, the first test ends the run."""
    criterion = StopWhenSolved(error=0.99, every_n_steps=2)
    assert trained(criterion).global_step == 2
    assert criterion.metrics == {"solved": 1.0, "steps_to_solve": 2, "dead": 0.0}


def test_a_run_that_is_not_solved_goes_on_to_its_end():
    """With a limit that no untrained network meets, the run makes all its steps and is not solved."""
    criterion = StopWhenSolved(error=0.001, every_n_steps=2)
    assert trained(criterion).global_step == 6
    assert criterion.metrics == {"solved": 0.0, "steps_to_solve": None, "dead": 0.0}


def test_the_end_of_a_run_is_tested():
    """Success between the last test and the end of training counts."""
    criterion = StopWhenSolved(error=0.99, every_n_steps=4_000)
    assert trained(criterion).global_step == 6
    assert criterion.metrics == {"solved": 1.0, "steps_to_solve": 6, "dead": 0.0}


def test_testing_changes_no_bit_of_the_training():
    """The weights after a run with tests are those after a run without."""
    tested, alone = trained(StopWhenSolved(error=0.001, every_n_steps=1)), trained(StopWhenSolved(error=0.001))
    pairs = zip(tested.model.parameters(), alone.model.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"error": 0.0}, r"StopWhenSolved\(error=0\.0\): error must be a fraction between 0 and 1"),
        ({"error": 1}, r"StopWhenSolved\(error=1\): error must be"),
        ({"every_n_steps": 0}, r"StopWhenSolved\(every_n_steps=0\): every_n_steps must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    """The message quotes an argument that is out of range, with its rule."""
    with pytest.raises(ValueError, match=message):
        StopWhenSolved(**options)


def test_an_interval_is_a_whole_number():
    """Half a step is refused, not rounded."""
    with pytest.raises(TypeError, match=r"StopWhenSolved\(every_n_steps=2\.5\): every_n_steps must be a whole number"):
        StopWhenSolved(every_n_steps=2.5)


def test_data_without_a_criterion_are_refused():
    """A data module has to say which outputs are wrong."""
    trainer = Trainer(callbacks=[StopWhenSolved()], max_epochs=1, accelerator="cpu", logger=False)
    with pytest.raises(
        MisconfigurationException, match=r"needs a data module with the method `wrong.*remove the callb"
    ):
        trainer.fit(MLPRegressor(), RegressionDataModule())
