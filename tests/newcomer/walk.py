"""A newcomer's first ten minutes: `make test-newcomer` installs the wheel and runs this script in an empty folder.

Each step is a command as the documentation shows it. It fails if the command fails, if it prints a traceback or a
warning, or if a file that it promises is missing. All steps together take ten minutes of processor time at most: how
long they take on the clock depends on what else the machine does.
"""

import csv
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

CLIP = str(Path(sys.executable).with_name("lightning-clip"))
SHORT = ("--trainer.max_epochs=2", "--trainer.accelerator=cpu", "--trainer.logger=false")
NOISE = re.compile(r"traceback|warning", re.IGNORECASE)
LIMIT_SECONDS = 600

OWN_NETWORK = """
import torch
from lightning.pytorch import LightningModule


class Mine(LightningModule):
    def __init__(self, in_features: int = 20, out_features: int = 1):
        super().__init__()
        self.net = torch.nn.Linear(in_features, out_features)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return torch.nn.functional.mse_loss(self.net(x).squeeze(-1), y.squeeze(-1))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)
"""

OWN_STRATEGY = """
from lightning_clip import ClipStrategy, Gradients, Scale
from lightning_clip.functional import clip_coef


class Halve(ClipStrategy):
    def __init__(self, limit: float = 0.5):
        super().__init__()
        self.limit = limit

    def decide(self, grads: Gradients) -> Scale:
        return Scale(clip_coef(grads.total_norm(), self.limit), self.limit)
"""

ADDED = "--trainer.callbacks+="
RECORDED = (
    f"{ADDED}GradientClipping",
    "--trainer.callbacks.strategy=norm",
    "--trainer.callbacks.sinks=[{class_path: lightning_clip.JsonlSink, init_args: {path: run.jsonl}}]",
)
MLP = ("--model=MLPRegressor", "--data=RegressionDataModule")
SERIES = ("--model=LSTMModule", "--model.task=regression", "--model.many_to_many=true", "--model.hidden_size=8")
TEXT = ("--model=TBPTTModule", "--model.task=next_token", "--model.embedding_dim=8", "--model.hidden_size=8")
CSV = ("--data=TimeSeriesDataModule", "--data.path=mine.csv", "--data.window=16")
SAVED = (f"{ADDED}ModelCheckpoint", "--trainer.callbacks.dirpath=saved", "--trainer.callbacks.save_last=true")

STEPS: list[tuple[str, tuple[str, ...], str, str]] = [
    ("say what there is", ("--help",), "fit", ""),
    ("list the strategies", ("list", "strategies"), "NormClip", ""),
    ("begin a project", ("init", "project"), "lightning-clip fit", "project/run.yaml"),
    ("train with a packaged configuration", ("fit", *MLP, "--config", "clip/norm", *SHORT), "NormClip", ""),
    ("train and record", ("fit", *MLP, *SHORT, *RECORDED), "Gradient report", "run.jsonl"),
    ("read the record", ("report", "run.jsonl"), "Gradient report", ""),
    ("make a page", ("report", "run.jsonl", "--html", "run.html"), "", "run.html"),
    ("find a threshold in the record", ("suggest", "run.jsonl"), "NormClip", ""),
    ("find a threshold by training", ("suggest", *MLP, "--num_steps=50"), "NormClip", ""),
    ("train my own network", ("fit", "--model=mymod.Mine", MLP[1], *SHORT), "Mine", ""),
    (
        "clip by my own strategy",
        ("fit", *MLP, *SHORT, f"{ADDED}GradientClipping", "--trainer.callbacks.strategy=mystrategy.Halve"),
        "Halve",
        "",
    ),
    ("train on my CSV file", ("fit", *SERIES, *CSV, *SHORT), "LSTMModule", ""),
    (
        "train on my text",
        ("fit", *TEXT, "--data=CharTextDataModule", "--data.path=mine.txt", *SHORT),
        "TBPTTModule",
        "",
    ),
    ("save", ("fit", *MLP, *SHORT, *SAVED), "Gradient report", "saved/last.ckpt"),
    (
        "resume",
        ("fit", *MLP, *SHORT, "--trainer.max_epochs=4", "--ckpt_path=saved/last.ckpt"),
        "Gradient report",
        "",
    ),
    ("compare", ("compare", "--seeds", "1", "--output", "study"), "Comparison", "study/results.json"),
]


def write_own_files() -> None:
    """What the newcomer brings along."""
    Path("mymod.py").write_text(OWN_NETWORK, encoding="utf-8")
    Path("mystrategy.py").write_text(OWN_STRATEGY, encoding="utf-8")
    Path("mine.txt").write_text("The quick brown fox jumps over the lazy dog. " * 400, encoding="utf-8")
    with Path("mine.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[f"{math.sin(k / 9):.4f}", f"{math.cos(k / 7):.4f}"] for k in range(800)])


def take(name: str, args: tuple[str, ...], says: str, leaves: str) -> list[str]:
    """Run one command and return what is wrong with it."""
    began = time.perf_counter()
    done = subprocess.run([CLIP, *args], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    printed = done.stdout + done.stderr
    wrong = [f"exit code {done.returncode}"] if done.returncode else []
    wrong += [f"printed: {line.strip()}" for line in printed.splitlines() if NOISE.search(line)]
    wrong += [f"does not say {says!r}"] if says not in printed else []
    wrong += [f"left no {leaves}"] if not Path(leaves).exists() else []
    print(
        f"{'FAILED' if wrong else 'ok':6} {seconds:5.1f} s  {name}: lightning-clip {' '.join(args)}"[:160], flush=True
    )
    for line in (*wrong, *(printed.splitlines()[-6:] if wrong else ())):
        print(f"         {line}"[:200])
    return wrong


def main() -> int:
    """Take every step, and return the exit code."""
    began = time.perf_counter()
    write_own_files()
    failed = [name for name, args, says, leaves in STEPS if take(name, args, says, leaves)]
    seconds = time.perf_counter() - began
    used = os.times()
    worked = used.children_user + used.children_system
    print(f"{len(STEPS) - len(failed)} of {len(STEPS)} steps in {seconds:.0f} s, {worked:.0f} s of the processor")
    return int(bool(failed) or worked > LIMIT_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
