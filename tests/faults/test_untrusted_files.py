"""Files from somebody else: whatever is hidden in them is refused, and nothing of it is executed."""

import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_clip import (
    ChunkedSequenceDataModule,
    GradientClipping,
    NormClip,
    RichGradientReport,
    TimeSeriesDataModule,
    load_record,
)
from tests.support.command import call
from tests.support.training import Net, loader, quiet_trainer


class Bomb:
    """Runs a function with arguments when it is unpickled, and leaves a folder behind as the sign of it."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def bombs(sign: Path) -> dict[str, Bomb]:
    return {
        "system": Bomb(os.system, f"mkdir {sign}"),
        "mkdir": Bomb(os.mkdir, str(sign)),
        "exec": Bomb(exec, f"import os; os.mkdir({str(sign)!r})"),
        "import": Bomb(__import__("importlib").import_module, "this"),
    }


BOMBS = list(bombs(Path("unused")))
PLACES: dict[str, Callable[[dict[str, Any], Any], Any]] = {
    "callback": lambda checkpoint, bomb: checkpoint["callbacks"]["GradientClipping"].update(seconds=bomb),
    "history": lambda checkpoint, bomb: checkpoint["callbacks"]["GradientClipping"]["history"].update(events=[bomb]),
    "strategy": lambda checkpoint, bomb: checkpoint["callbacks"]["GradientClipping"].update(strategies=[bomb]),
    "weights": lambda checkpoint, bomb: checkpoint["state_dict"].update(bomb=bomb),
    "optimizer": lambda checkpoint, bomb: checkpoint["optimizer_states"].append(bomb),
    "key": lambda checkpoint, bomb: checkpoint.update({"hidden": {"deeper": [(bomb,)]}}),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("saved") / "a.ckpt"
    trainer = quiet_trainer(callbacks=[GradientClipping(NormClip(0.7))], max_epochs=1)
    trainer.fit(Net(), loader())
    trainer.save_checkpoint(path)
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_in_a_checkpoint_does_not_go_off(checkpoint, kind, place, tmp_path):
    """A fit from it is refused by the Trainer's default, and no callback of ours loads it another way."""
    sign = tmp_path / "sign"
    spoiled = pickle.loads(pickle.dumps(checkpoint))
    PLACES[place](spoiled, bombs(sign)[kind])
    torch.save(spoiled, tmp_path / "a.ckpt")
    trainer = quiet_trainer(callbacks=[GradientClipping(NormClip(0.7)), RichGradientReport()])
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        trainer.fit(Net(), loader(), ckpt_path=tmp_path / "a.ckpt")
    assert not sign.exists()


CONTENTS: dict[str, Callable[[Any], bytes]] = {
    **{f"pickle, protocol {n}": lambda bomb, n=n: pickle.dumps(bomb, protocol=n) for n in range(6)},
    "in a run line": lambda bomb: b'{"run": {"model": "' + pickle.dumps(bomb, protocol=0).hex().encode() + b'"}}\n{"x',
    "python tag": lambda bomb: b'!!python/object/apply:os.mkdir ["sign"]\n',
    "deep": lambda bomb: b'{"run": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    "long number": lambda bomb: b'{"run": {"model": "M", "seconds": ' + b"9" * 10_000 + b"}}\n",
    "no text": lambda bomb: bytes(range(256)) * 64,
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("kind", BOMBS[:3])
def test_a_bomb_in_place_of_a_record_is_one_line(kind, content, tmp_path, capsys):
    """The report refuses the file in one line; nothing of it is executed."""
    sign = tmp_path / "sign"
    (tmp_path / "run.jsonl").write_bytes(CONTENTS[content](bombs(sign)[kind]))
    with pytest.raises(ValueError, match=r"run\.jsonl: line 1: expected"):
        load_record(tmp_path / "run.jsonl")
    assert call("report", tmp_path / "run.jsonl") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not sign.exists()


@pytest.mark.parametrize("kind", BOMBS[:3])
@pytest.mark.parametrize(
    "build", [TimeSeriesDataModule, lambda path: ChunkedSequenceDataModule(sequence=path)], ids=["table", "sequence"]
)
def test_a_bomb_in_an_array_does_not_go_off(build, kind, tmp_path):
    """Arrays of objects are pickles, and refused."""
    sign = tmp_path / "sign"
    array = np.empty((4,), dtype=object)
    array[0] = bombs(sign)[kind]
    np.save(tmp_path / "data.npy", array, allow_pickle=True)
    data = build(str(tmp_path / "data.npy"))

    def load() -> None:
        data.setup("fit")
        data.train_dataloader()

    with pytest.raises(ValueError, match=r"data\.npy.*(Object arrays cannot be loaded|Python objects)"):
        load()
    assert not sign.exists()


TAGS = ("python/object/apply:os.mkdir", "python/object/new:os.mkdir", "python/name:os.mkdir", "python/module:this")


@pytest.mark.parametrize("command", ["compare", "fit"])
@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_in_a_configuration_is_not_executed(command, tag, tmp_path, capsys, monkeypatch):
    """YAML that asks for a Python object is refused in one line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(f'name: !!{tag} ["sign"]\n')
    assert call(command, "--config", "study.yaml") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_in_a_checkpoint_of_the_command_line_does_not_go_off(checkpoint, kind, tmp_path, capsys, monkeypatch):
    """`fit` from a checkpoint that hides code ends without running it."""
    monkeypatch.chdir(tmp_path)
    sign = tmp_path / "sign"
    torch.save({**checkpoint, "hidden": bombs(sign)[kind]}, tmp_path / "a.ckpt")
    data, model = "lightning_clip.RegressionDataModule", "lightning_clip.MLPRegressor"
    options = ["--trainer.max_epochs", "1", "--trainer.logger", "false", "--trainer.enable_progress_bar", "false"]
    with suppress(pickle.UnpicklingError):
        assert call("fit", "--data", data, "--model", model, *options, "--ckpt_path", "a.ckpt") == 2
    assert not sign.exists()
