"""A pytest plugin that attaches callbacks to every Trainer of somebody else's tests; `upstream` runs it.

`python -m tests.support.upstream_plugin ours results.jsonl chosen.json pytest-arguments…`
"""

import json
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TextIO

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy
from lightning.pytorch.trainer.connectors.callback_connector import _CallbackConnector
from lightning.pytorch.trainer.connectors.logger_connector import _LoggerConnector

from lightning_clip import GradientClipping, GradientMonitor, NonFiniteGuard, NormClip, RichGradientReport

SECONDS = 300  # after which a test counts as failed
# Marks of plugins that the tests of Lightning use and need not be installed; a mark that is unknown is an error there.
MARKS = ("flaky(reruns, reruns_delay): of pytest-rerunfailures", "timeout(seconds): of pytest-timeout")


class StandIn(pl.Callback):
    """What any callback may do: it has every hook, keeps state, logs a metric and prints a line after the fit."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.has_trained = False

    @property
    def state_key(self) -> str:
        return f"{type(self).__name__}{self.number}"

    def state_dict(self) -> dict[str, Any]:
        return {"number": self.number}

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None: ...

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.has_trained = True

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *batch: Any) -> None:
        if trainer._logger_connector.should_update_logs:
            for logger in trainer.loggers:
                logger.log_metrics({f"stand_in/{self.number}": 1.0}, step=trainer.global_step)
            self._show(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._show(trainer)

    def _show(self, trainer: pl.Trainer) -> None:
        for metrics in (trainer.callback_metrics, trainer.logged_metrics):
            metrics[f"stand_in/{self.number}"] = torch.tensor(1.0)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self.has_trained and trainer.is_global_zero:
            bar = trainer.progress_bar_callback
            (print if bar is None else bar.print)("a line of a callback")
        self.has_trained = False


def ours(trainer: pl.Trainer) -> list[pl.Callback]:
    """The callbacks of this package that suit a Trainer; none of them changes a finite update."""
    if isinstance(trainer.strategy, DeepSpeedStrategy | FSDPStrategy):
        return []  # refused, because they hide the gradients
    clipping = [] if trainer.gradient_clip_val else [GradientClipping(NormClip(1e12))]
    return [NonFiniteGuard(), *clipping, GradientMonitor(flush_every_n_steps=3), RichGradientReport()]


ATTACH: dict[str, Callable[[pl.Trainer], list[pl.Callback]]] = {
    "nothing": lambda trainer: [],
    "ours": ours,
    "stand-in": lambda trainer: [StandIn(number) for number in range(4)],
}


class Attach:
    """The plugin.

    Args:
        what: The key of `ATTACH`.
        results: A file that gets one JSON object per test: first that it has started, then how it ended.
        only: The tests to run; all if there is none.
        without: The tests to leave out.
    """

    def __init__(self, what: str, results: TextIO, only: Collection[str] = (), without: Collection[str] = ()) -> None:
        self.make, self.results = ATTACH[what], results
        self.only, self.without = frozenset(only), frozenset(without)
        self.count = 0
        self.outcomes: dict[str, str] = {}
        self.errors: dict[str, str] = {}

    def _tell(self, **line: Any) -> None:
        self.results.write(json.dumps(line) + "\n")
        self.results.flush()

    def pytest_configure(self, config: pytest.Config) -> None:
        """Attach at the end of the Trainer's constructor, when it is known whether it clips."""
        original = _LoggerConnector.on_trainer_init

        def attached(connector: _LoggerConnector, *args: Any, **kwargs: Any) -> None:
            original(connector, *args, **kwargs)
            callbacks = self.make(connector.trainer)
            self.count += bool(callbacks)
            connector.trainer.callbacks = _CallbackConnector._reorder_callbacks(
                [*connector.trainer.callbacks, *callbacks]
            )

        _LoggerConnector.on_trainer_init = attached  # type: ignore[method-assign]
        known = {line.partition(":")[0].partition("(")[0] for line in config.getini("markers")}
        for mark in MARKS:
            if mark.partition("(")[0] not in known:
                config.addinivalue_line("markers", mark)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Choose by the exact name: the option `--deselect` takes also the tests whose names begin alike."""
        items[:] = [
            item for item in items if (not self.only or item.nodeid in self.only) and item.nodeid not in self.without
        ]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._tell(unread=report.nodeid, error=_last_line(report.longreprtext))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._tell(test=item.nodeid)
        self.outcomes.pop(item.nodeid, None)
        before = self.count
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(SECONDS)
        try:
            return (yield)
        finally:
            signal.alarm(0)
            outcome = self.outcomes.get(item.nodeid, "passed")
            error = self.errors.get(item.nodeid, "")
            self._tell(test=item.nodeid, outcome=outcome, trainers=self.count - before, error=error)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or (report.skipped and report.nodeid not in self.outcomes):
            self.outcomes[report.nodeid] = report.outcome
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.errors[report.nodeid] = (
                _last_line(report.longreprtext) if crash is None else _first_line(crash.message)
            )

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._tell(finished=True)


def _too_long(number: int, frame: Any) -> None:
    raise TimeoutError(f"the test takes more than {SECONDS} s")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:200]


def _last_line(text: str) -> str:
    return _first_line(text.strip().rpartition("\n")[2].removeprefix("E").strip())


def main(what: str, results: str, chosen: str, *arguments: str) -> int:
    """Run pytest with the plugin."""
    choice = json.loads(Path(chosen).read_text(encoding="utf-8"))
    with Path(results).open("a", encoding="utf-8") as file:
        return int(pytest.main(list(arguments), plugins=[Attach(what, file, **choice)]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
