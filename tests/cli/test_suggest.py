"""`lightning-clip suggest`: thresholds from a record, or from the first steps of a run that is undone."""

import re
from pathlib import Path

import pytest
import yaml

from lightning_clip import GradientMonitor, JsonlSink
from lightning_clip.core.record.norm_sample import NormSample
from lightning_clip.reports.sections.suggestion import suggested, yaml_of
from lightning_clip.reports.suggestion import Suggestion
from lightning_clip.reports.text import to_text
from tests.support.command import call
from tests.support.training import Net, loader, quiet_trainer

QUIET = [
    "--trainer.max_epochs=5",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
MLP = ["--model=MLPRegressor", "--data=RegressionDataModule", *QUIET]
RNN = ["--model=RNNModule", "--model.hidden_size=8", "--data=TemporalOrderDataModule", "--data.length=20", *QUIET]
RUN = [
    "--trainer.max_steps=2",
    "--trainer.enable_checkpointing=false",
    "--trainer.limit_val_batches=0",
    "--trainer.logger=false",
]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def blocks_of(text: str) -> list[str]:
    """The configurations in what was printed."""
    return ["trainer:\n" + one for one in re.findall(r"^trainer:\n((?: .*\n)+)", text, re.MULTILINE)]


def test_a_configuration_is_measured_and_leaves_no_file(capsys):
    """The distribution, the rules with what each clips, and lines that run as pasted; nothing is written."""
    assert call("suggest", *MLP, "--num_steps=5") == 0
    text = capsys.readouterr().out
    assert list(Path().iterdir()) == []
    assert re.search(r"Measured +5 steps, measured and undone", text)
    for rule in ("P90 (one step in ten)", "mean (Pascanu et al.)", "P10 (AutoClip)", "a step of SGD moves the weights"):
        assert re.search(rf"{re.escape(rule)}.* [\d.,e+]+ +[\d.]+%", text), rule
    (block,) = blocks_of(text)
    Path("clip.yaml").write_text(block)
    (callback,) = yaml.safe_load(block)["trainer"]["callbacks+"]
    assert f"NormClip({callback['init_args']['strategy']['init_args']['max_norm']:g})" in text
    assert call("fit", *MLP, *RUN, "--config=clip.yaml") == 0


def test_the_groups_of_a_recurrent_network_can_be_clipped_by_themselves(capsys):
    """Input-hidden, hidden-hidden and bias of each layer have norms of their own; both configurations run."""
    assert call("suggest", *RNN, "--num_steps=4", "--model.num_layers=2") == 0
    text = capsys.readouterr().out
    for layer in ("l0", "l1"):
        for role in ("input-hidden", "hidden-hidden", "bias"):
            assert f"recurrent {layer}: {role} " in text
    plain, groups = blocks_of(text)
    limits = yaml.safe_load(groups)["trainer"]["callbacks+"][0]["init_args"]["strategy"]["init_args"]["max_norms"]
    assert len(limits) == 7
    for number, block in enumerate((plain, groups)):
        Path(f"{number}.yaml").write_text(block)
        assert call("fit", *RNN, *RUN, "--model.num_layers=2", f"--config={number}.yaml") == 0


@pytest.mark.parametrize("width", [80, 100])
def test_a_record_is_enough(width, capsys):
    """A record gives the same tables, as wide as wanted, and says what it does not know."""
    monitor = GradientMonitor(sinks=[JsonlSink("run.jsonl")])
    quiet_trainer(callbacks=[monitor], max_epochs=2).fit(Net(), loader())
    assert call("suggest", "run.jsonl", f"--width={width}") == 0
    text = capsys.readouterr().out
    assert re.search(r"Measured +12 steps, recorded", text)
    assert "a record does not know the weights" in text
    assert "Few steps" in text
    assert max(map(len, text.splitlines())) <= width
    assert len(blocks_of(text)) == 1


def test_a_run_that_diverged_is_said_to_have():
    """What is suggested comes from the steps before; without any, nothing is suggested."""
    sick, dead = NormSample(), NormSample()
    for norm in (1.0, 2.0, float("nan")):
        sick.add(norm)
    dead.add(float("inf"))
    text = to_text(suggested([Suggestion(sick)]), width=100)
    assert "Diverged   the gradient became NaN in step 2; what follows is about the steps before" in text
    text = to_text(suggested([Suggestion(dead)]), width=100)
    assert "Suggested  nothing: no step had a finite gradient" in text
    assert "trainer:" not in text


def test_several_optimizers_get_the_finder():
    """A `NormClip` has one threshold; the finder finds one for each optimizer."""
    samples = [Suggestion(NormSample([1.0]), optimizer=f"Optimizer {index}") for index in (0, 1)]
    classes = [one["class_path"] for one in yaml.safe_load("\n".join(yaml_of(samples)))["trainer"]["callbacks+"]]
    assert classes == ["lightning_clip.GradientClipping", "lightning_clip.ClipThresholdFinder"]
    assert "Threshold: Optimizer 1" in to_text(suggested(samples), width=80)
