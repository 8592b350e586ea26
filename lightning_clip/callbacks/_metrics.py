"""Turns step records into metrics and passes them to the loggers; the callbacks use it."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn

from lightning_clip._checks import check_choice, check_count, check_each, check_instance, check_rule
from lightning_clip._compat import batches_that_stepped, looks_after_batch
from lightning_clip.core.globs import did_you_mean_glob
from lightning_clip.core.names import plain_name
from lightning_clip.core.record.history import History
from lightning_clip.core.record.step_record import ParamNorms, StepRecord
from lightning_clip.core.recurrent.gates import GATES
from lightning_clip.core.recurrent.names import LayerName, RecurrentName
from lightning_clip.sinks.sink import Sink

GroupBy = Literal["none", "module", "param", "rnn"] | Mapping[str, list[str]]
_GROUPINGS = ("none", "module", "param", "rnn")


def check_recording(call: str, sinks: object, flush_every_n_steps: int, group_by: object, name: object) -> None:
    """Check the arguments that all observers have.

    Args:
        call: The name of the callback, quoted in error messages.
        sinks: The destinations of the record; `None` for none.
        flush_every_n_steps: The number of steps that may stay on the device.
        group_by: One of the named groupings, or lists of globs by name.
        name: The name of the instance.

    Raises:
        ArgumentError: An argument is something else.
    """
    check_count(call, flush_every_n_steps=flush_every_n_steps)
    check_instance(call, str, name=name)
    check_each(call, Sink, sinks=() if sinks is None else sinks)  # type: ignore[arg-type]
    if not isinstance(group_by, Mapping):
        check_choice(call, [*_GROUPINGS, {"name": ["glob"]}], group_by=group_by)
        return
    for group, globs in group_by.items():
        are_globs = isinstance(globs, list | tuple) and all(isinstance(glob, str) for glob in globs)
        rule = f"group_by needs a list of globs for each name, and {globs!r} of {group!r} is none"
        check_rule(f"{call}(group_by={group_by!r})", rule, holds=isinstance(group, str) and are_globs)


def warn_of_empty_groups(call: str, group_by: GroupBy, module: LightningModule) -> None:
    """Warn of globs that match no parameter, so that their group is never logged.

    Args:
        call: The name of the callback, quoted in the warning.
        group_by: The argument of the callback.
        module: The module being trained.
    """
    if not isinstance(group_by, Mapping):
        return
    names = [plain_name(name) for name, _ in module.named_parameters()]
    for group, globs in group_by.items():
        for glob in globs:
            if not any(fnmatchcase(name, glob) for name in names):
                similar = did_you_mean_glob(glob, names)
                rank_zero_warn(
                    f"{call}(group_by={group_by!r}): {glob!r} of {group!r} matches no parameter{similar or '.'}"
                )


def metrics_of(records: Sequence[StepRecord], history: History, group_by: GroupBy) -> dict[str, float]:
    """Compute the metrics of one batch, aggregated over the optimizer steps in it.

    Norms are the maximum over the batch's steps, `clip/coef` and `clip/active` the mean, and counters the totals so
    far. Steps without a gradient enter the counters only.

    Args:
        records: The steps of one batch, in order.
        history: The history, which already contains these steps.
        group_by: The parameter groups whose norms are included.

    Returns:
        The value of each metric key; the keys of a second optimizer end in `-1`, those of a third in `-2`.
    """
    result: dict[str, float] = {}
    for optimizer in dict.fromkeys(record.optimizer for record in records):
        own = [record for record in records if record.optimizer == optimizer]
        suffix = f"-{optimizer}" if optimizer else ""
        result |= {key + suffix: value for key, value in _of_one(own, history, group_by).items()}
    return result


def publish(trainer: Trainer, metrics: Mapping[str, float]) -> None:
    """Pass metrics to all loggers, and to callbacks that monitor a metric.

    Some loggers fail at NaN and infinity, so they get finite values only; `clip/nonfinite_total` counts the others.

    Args:
        trainer: The trainer, while it is fitting.
        metrics: The value of each metric key.
    """
    if metrics:
        finite = {key: value for key, value in metrics.items() if isfinite(value)}
        for logger in trainer.loggers:
            row = {**finite, "epoch": trainer.current_epoch}  # as in the rows of Lightning's own metrics
            logger.log_metrics(row, step=batches_that_stepped(trainer))
        show(trainer, metrics)


def show(trainer: Trainer, metrics: Mapping[str, float]) -> None:
    """Pass metrics to callbacks that monitor a metric, but to no logger.

    Args:
        trainer: The trainer, while it is fitting.
        metrics: The value of each metric key.
    """
    if not metrics:
        return
    tensors = {key: torch.tensor(value) for key, value in metrics.items()}
    trainer.callback_metrics.update(tensors)
    trainer.logged_metrics.update(tensors)


def is_looked_at(trainer: Trainer) -> bool:
    """Return whether a checkpoint callback or a scheduler looks at one of our metrics right after this batch.

    Args:
        trainer: The trainer, at the end of a batch.
    """
    watchers: list[Any] = [*trainer.checkpoint_callbacks]
    for one in watchers:
        if looks_after_batch(one, trainer) and _names_ours(one.monitor, one.filename):
            return True
    for config in trainer.lr_scheduler_configs:
        if config.reduce_on_plateau and config.interval == "step" and _names_ours(config.monitor):
            return True
    return False


def is_validation_of_fit(trainer: Trainer) -> bool:
    """Return whether this validation belongs to a training that has begun, at whose end callbacks look at metrics.

    Args:
        trainer: The trainer, at the start of a validation.
    """
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


def _names_ours(*texts: str | None) -> bool:
    return any(word in text for text in texts if text for word in ("grad_norm/", "clip/"))


def _of_one(records: Sequence[StepRecord], history: History, group_by: GroupBy) -> dict[str, float]:
    skipped, nonfinite = history.bad_steps(records[0].optimizer)
    metrics = {"clip/skipped_total": float(skipped), "clip/nonfinite_total": float(nonfinite)}
    records = [record for record in records if record.norm_before != 0]
    if not records:
        return metrics
    thresholds = [record.threshold for record in records if record.threshold is not None]
    metrics = {
        "grad_norm/total": float(np.fmax.reduce([record.norm_before for record in records])),
        "grad_norm/total_clipped": float(np.fmax.reduce([record.norm_after for record in records])),
        "clip/coef": float(np.mean([record.clip_coef for record in records])),
        "clip/active": float(np.mean([record.clipped for record in records])),
        **metrics,
    }
    if thresholds:
        metrics["clip/threshold"] = thresholds[-1]
    params = records[-1].params
    if params is not None and group_by != "none":
        metrics |= {f"grad_norm/{group}": norm for group, norm in _group_norms(params, group_by).items()}
    return metrics


def _group_norms(params: ParamNorms, group_by: GroupBy) -> dict[str, float]:
    if group_by == "rnn":
        return recurrent_norms(params)
    groups: dict[str, list[float]] = {}
    for name, norm in zip(params.names, params.before.tolist(), strict=True):
        for group in _groups_of(name, group_by):
            groups.setdefault(group, []).append(norm)
    return {group: float(np.linalg.norm(norms)) for group, norms in groups.items()}


def _groups_of(name: str, group_by: GroupBy) -> list[str]:
    if group_by == "param":
        return [name]
    if group_by == "module":
        return [name.rpartition(".")[0] or name]
    assert not isinstance(group_by, str)
    return [group for group, patterns in group_by.items() if any(fnmatchcase(name, pattern) for pattern in patterns)]


def recurrent_norms(params: ParamNorms) -> dict[str, float]:
    """Compute norms by path and gate over all recurrent layers, and for each layer if there are several.

    Args:
        params: The gradient norms of one step.

    Returns:
        The norms by `input-hidden`, `hidden-hidden`, `projection`, `bias` and, if gates were measured, `gate_forget`
        and so on. The keys of a single layer end in its suffix, as in `hidden-hidden_l0`; if several modules have
        recurrent layers, they begin with the module's name, as in `encoder.hidden-hidden_l0`.

    Example:
        >>> names = ("rnn.weight_hh_l0", "rnn.weight_hh_l1", "head.weight")
        >>> recurrent_norms(ParamNorms(names, np.array([3.0, 4.0, 9.0]), np.zeros(3, dtype=bool)))
        {'hidden-hidden': 5.0, 'hidden-hidden_l0': 3.0, 'hidden-hidden_l1': 4.0}
    """
    parsed = {name: found for name in params.names if (found := RecurrentName.parse(name)) is not None}
    layers = {found.layer for found in parsed.values()}
    modules = {layer.module for layer in layers}
    groups: dict[str, list[float]] = {}

    def add(what: str, layer: LayerName, norm: float) -> None:
        groups.setdefault(what, []).append(norm)
        if len(layers) > 1:
            of_layer = f"{layer.module}.{what}" if len(modules) > 1 else what
            groups.setdefault(of_layer + layer.suffix, []).append(norm)

    for name, norm in zip(params.names, params.before.tolist(), strict=True):
        if name in parsed:
            add(parsed[name].path, parsed[name].layer, norm)
    for name, norms in params.gates.items():
        for gate, norm in zip(GATES[len(norms)], norms, strict=True):
            add(f"gate_{gate}", parsed[name].layer, norm)
    return {key: float(np.linalg.norm(norms)) for key, norms in groups.items()}
