"""The common behavior of all generated sequence tasks."""

import pickle

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.demos.boring_classes import BoringModel

from lightning_clip.datamodules import (
    AddingProblemDataModule,
    MemorizationDataModule,
    MultiplicationDataModule,
    RandomPermutationDataModule,
    SequenceTaskDataModule,
    TemporalOrderDataModule,
)
from lightning_clip.datamodules._generated_batches import FreshBatches

TASKS = {
    "adding": AddingProblemDataModule,
    "multiplication": MultiplicationDataModule,
    "permutation": RandomPermutationDataModule,
    "memorization": MemorizationDataModule,
    "temporal-order": TemporalOrderDataModule,
}
each_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
chosen = {MemorizationDataModule: {"all_patterns": False}}


def make(task: type[SequenceTaskDataModule], **options) -> SequenceTaskDataModule:
    small = {"length": 20, "batches_per_epoch": 3, "n_val": 7, "n_test": 9, "seed": 0}
    return task(**{**small, **chosen.get(task, {}), **options})


def same(a: list, b: list) -> bool:
    return all(torch.equal(x, y) for one, two in zip(a, b, strict=True) for x, y in zip(one, two, strict=True))


class Recorder(BoringModel):
    """Keeps its training batches, and learns nothing from them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list = []
        self.epochs: list[int] = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch)
        self.epochs.append(self.current_epoch)
        return self.layer.weight.sum()

    def validation_step(self, batch, batch_idx):
        return


def trained(
    data: SequenceTaskDataModule, tmp_path, *, resume: str | None = None, **options
) -> tuple[Recorder, Trainer]:
    model = Recorder()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(default_root_dir=tmp_path, enable_checkpointing=False, **quiet, **options)
    trainer.fit(model, data, ckpt_path=resume)
    return model, trainer


@each_task
def test_batches_have_the_declared_shapes_and_types(task):
    """Inputs are float32 and batch first; targets are int64 classes or one float32 column."""
    data = make(task, batch_size=4)
    for inputs, targets in data.train_dataloader():
        assert inputs.dtype == torch.float32
        assert inputs.shape[0] == targets.shape[0] == 4
        assert inputs.shape[2] == data.in_features
        if targets.dtype == torch.int64:
            assert 0 <= targets.min() <= targets.max() < data.out_features
        else:
            assert targets.dtype == torch.float32
            assert targets.shape == (4, data.out_features)


@each_task
def test_the_seed_decides_the_sequences(task):
    """The same seed gives the same batches; another seed gives different ones."""
    first, again, other = (list(make(task, seed=seed).train_dataloader()) for seed in (0, 0, 1))
    assert same(first, again)
    assert not any(torch.equal(a[0], b[0]) for a, b in zip(first, other, strict=True) if a[0].shape == b[0].shape)


def test_without_a_seed_the_global_seed_decides():
    """`seed_everything` sets the data; drawing other random numbers in between does not change them."""
    batches = []
    for seed, draws in ((3, 0), (3, 5), (4, 0)):
        seed_everything(seed)
        torch.rand(draws)
        batches.append(list(make(TemporalOrderDataModule, seed=None).train_dataloader()))
    assert same(batches[0], batches[1])
    assert not same(batches[0], batches[2])


@each_task
def test_no_batch_is_seen_twice(task, tmp_path):
    """All batches of three epochs differ, also from the validation and test sequences."""
    data = make(task, batch_size=7, n_val=7, n_test=7)
    model, _ = trained(data, tmp_path, max_epochs=3, limit_val_batches=1, num_sanity_val_steps=0)
    every = [*model.seen, *data.val_dataloader(), *data.test_dataloader()]
    assert len(every) == 3 * 3 + 2
    assert len({inputs.numpy().tobytes() for inputs, _ in every}) == len(every)


def test_evaluation_sees_the_same_sequences_each_time():
    """Evaluation has the same `n_val` or `n_test` sequences every time, in few batches."""
    data = make(TemporalOrderDataModule, n_val=1203, n_test=9)
    loader = data.val_dataloader()
    assert [len(inputs) for inputs, _ in loader] == [500, 500, 203]
    assert same(list(loader), list(data.val_dataloader()))
    assert sum(len(inputs) for inputs, _ in data.test_dataloader()) == 9
    assert same(list(data.test_dataloader()), list(data.predict_dataloader()))


def test_a_resumed_run_goes_on_with_the_same_sequences(tmp_path):
    """Epochs 1 and 2 after a restart have the batches of an uninterrupted run."""
    whole, _ = trained(make(TemporalOrderDataModule), tmp_path, max_epochs=3, limit_val_batches=0)
    _, trainer = trained(make(TemporalOrderDataModule), tmp_path, max_epochs=1, limit_val_batches=0)
    trainer.save_checkpoint(tmp_path / "first.ckpt")
    rest, _ = trained(
        make(TemporalOrderDataModule), tmp_path, max_epochs=3, limit_val_batches=0, resume=str(tmp_path / "first.ckpt")
    )
    assert whole.epochs == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert rest.epochs == [1, 1, 1, 2, 2, 2]
    assert same(whole.seen[3:], rest.seen)


def test_processes_share_the_batches_of_an_epoch():
    """Two ranks have disjoint batches, equally many, that make up those of one process; an odd one is dropped."""
    batches = make(TemporalOrderDataModule, batches_per_epoch=5).train_dataloader().dataset
    parts = []
    for rank in (0, 1):
        sampler = FreshBatches(batches, num_replicas=2, rank=rank)
        sampler.set_epoch(2)
        parts.append(list(sampler))
    assert parts == [[10, 12], [11, 13]]
    assert list(FreshBatches(batches)) == [0, 1, 2, 3, 4]


@each_task
def test_a_batch_is_a_function_of_its_number(task):
    """Batches are the same in any order, as loaders with workers require."""
    batches = make(task).train_dataloader().dataset
    forwards = [batches[number] for number in range(5)]
    assert same(forwards, [batches[number] for number in reversed(range(5))][::-1])


@pytest.mark.parametrize("task", [TemporalOrderDataModule, RandomPermutationDataModule])
def test_max_length_draws_a_length_for_each_batch(task):
    """Every length from `length` to `max_length` occurs, and no other."""
    data = make(task, length=20, max_length=24, batches_per_epoch=100)
    assert {inputs.shape[1] for inputs, _ in data.train_dataloader()} == {20, 21, 22, 23, 24}


@each_task
def test_it_can_be_sent_to_another_process(task):
    """The data module and its loaders can be pickled."""
    data = make(task)
    twin = pickle.loads(pickle.dumps(data))
    assert same(list(data.train_dataloader()), list(pickle.loads(pickle.dumps(twin.train_dataloader()))))


def test_wrong_classes():
    """One wrong class or a NaN output makes a sequence wrong."""
    data = make(TemporalOrderDataModule)
    scores = torch.tensor([[0.0, 3.0, 1.0, 2.0]] * 2 + [[float("nan")] * 4])
    assert data.wrong(scores, torch.tensor([1, 2, 0])).tolist() == [False, True, True]
    steps = torch.nn.functional.one_hot(torch.tensor([[0, 1, 2], [0, 1, 2]]), 3).float()
    assert make(MemorizationDataModule).wrong(steps, torch.tensor([[0, 1, 2], [0, 0, 2]])).tolist() == [False, True]


def test_wrong_numbers():
    """A number is wrong if it is off by more than 0.2, or NaN."""
    outputs = torch.tensor([[0.69], [0.31], [0.71], [0.29], [float("nan")]])
    wrong = make(AddingProblemDataModule).wrong(outputs, torch.full((5, 1), 0.5))
    assert wrong.tolist() == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        (TemporalOrderDataModule, {"length": 9}, r"TemporalOrderDataModule\(length=9\): length must be at least 10"),
        (AddingProblemDataModule, {"length": 9}, "length must be at least 10"),
        (RandomPermutationDataModule, {"length": 0}, "length must be at least 1"),
        (
            TemporalOrderDataModule,
            {"max_length": 19},
            r"length=20, max_length=19\): max_length must be at least length",
        ),
        (AddingProblemDataModule, {"batch_size": 0}, r"AddingProblemDataModule\(batch_size=0\): batch_size must be at"),
        (AddingProblemDataModule, {"batches_per_epoch": 0}, "batches_per_epoch must be at least 1"),
        (AddingProblemDataModule, {"n_val": 0}, "n_val must be at least 1"),
        (AddingProblemDataModule, {"seed": -1}, "seed must be at least 0"),
        (TemporalOrderDataModule, {"n_bits": 4}, r"TemporalOrderDataModule\(n_bits=4\): n_bits must be one of 2, 3"),
        (MemorizationDataModule, {"n_values": 0}, "n_values must be at least 1"),
        (
            MemorizationDataModule,
            {"n_values": 5, "n_positions": 10, "all_patterns": True},
            r"n_values=5, n_positions=10\): 9,765,625 patterns are too many for one batch; set all_patterns=False",
        ),
    ],
)
def test_bad_arguments(task, arguments, message):
    """Bad arguments raise an error of one line with the call and the rule."""
    with pytest.raises(ValueError, match=message):
        make(task, **arguments)


def test_counts_are_whole_numbers():
    """A fractional count raises a type error."""
    with pytest.raises(TypeError, match=r"AddingProblemDataModule\(length=20\.5\): length must be a whole number"):
        make(AddingProblemDataModule, length=20.5)
