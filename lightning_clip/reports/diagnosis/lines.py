"""Lines that carry out a remedy, to be pasted into a training script; rules pass them on in `Finding.code`."""

from lightning_clip.core.record.run_info import RunInfo
from lightning_clip.reports.evidence import Evidence, OptimizerEvidence
from lightning_clip.reports.formats import literal

Lines = tuple[str, ...]

_FIND_EACH: Lines = (
    "from lightning_clip import ClipThresholdFinder, GradientClipping",
    "clipping = GradientClipping()",
    "trainer = Trainer(callbacks=[clipping, ClipThresholdFinder()])",
)
_IN_TORCH = {
    *("SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta", "Adafactor", "ASGD"),
    *("Rprop", "LBFGS", "SparseAdam"),
}


def clip_lines(evidence: Evidence) -> Lines:
    """Clip by the total norm, and each of several optimizers by its own.

    These are the same lines for every finding of a run, so two findings never contradict each other.

    Args:
        evidence: The record of a run, summarized.
    """
    optimizers = evidence.optimizers
    if len(optimizers) == 1:
        return strategy_lines("NormClip", f"max_norm={_limit_of(optimizers[0])!r}")
    globs = [_glob_of(evidence.run, one) for one in optimizers]
    if not all(globs):
        return _FIND_EACH
    limits = [f'    "{glob}": {_limit_of(one)!r},' for glob, one in zip(globs, optimizers, strict=True)]
    imported, *clip = strategy_lines("GroupNormClip", "limits")
    return (imported, "limits = {", *limits, "}", *clip)


def _limit_of(one: OptimizerEvidence) -> float:
    """The P90 of its norms, or the median of a few; 1 where they show none, as after an explosion."""
    shown = one.part.suggested_threshold or one.part.median
    return float(literal(shown)) if shown > 0 and one.growth is None and one.explosion is None else 1.0


def _glob_of(run: RunInfo, one: OptimizerEvidence) -> str:
    """The glob of all parameters of an optimizer, and of no other; empty if there is none."""
    names, part = [parameter.name for parameter in one.parameters], _part_of(run, one)
    return "" if not names or not part else part if part in names else f"{part}.*"


def strategy_lines(name: str, arguments: str) -> Lines:
    """Clip with a strategy of this package.

    Args:
        name: Its class.
        arguments: Its arguments.
    """
    return (
        f"from lightning_clip import GradientClipping, {name}",
        f"clipping = GradientClipping({name}({arguments}))",
        "trainer = Trainer(callbacks=[clipping])",
    )


def rate_lines(run: RunInfo, one: OptimizerEvidence, factor: float) -> Lines:
    """Change the learning rate.

    Args:
        run: What was run.
        one: The optimizer.
        factor: The factor on its learning rate.
    """
    name, known = run.call_of(one.part.optimizer)
    if name not in _IN_TORCH or "lr" not in known:
        return ("for group in optimizer.param_groups:", f'    group["lr"] *= {factor:g}')
    known["lr"] = literal(float(known["lr"]) * factor)
    given = ", ".join(f"{key}={value}" for key, value in known.items())
    return _optimizer_lines(run, one, f"{name}(params, {given})")


def adam_lines(run: RunInfo, one: OptimizerEvidence) -> Lines:
    """Train with Adam at its usual rate.

    Args:
        run: What was run.
        one: The optimizer to replace.
    """
    return _optimizer_lines(run, one, "Adam(params, lr=0.001)")


def _optimizer_lines(run: RunInfo, one: OptimizerEvidence, call: str) -> Lines:
    part = _part_of(run, one)
    owner = f"model.{part}" if part else "model"
    return (f"params = {owner}.parameters()", f"optimizer = torch.optim.{call}")


def _part_of(run: RunInfo, one: OptimizerEvidence) -> str:
    """What the names of an optimizer's parameters begin with; empty if that is not one part of the network."""
    part = run.trains[one.part.optimizer] if one.part.optimizer < len(run.trains) else ""
    return part if " " not in part else ""


def longer_memory_lines(lag: int, *, gru: bool) -> Lines:
    """Start a gated network with gates that remember.

    Args:
        lag: How far back it should remember, in time steps.
        gru: Whether the network is a GRU; it is an LSTM otherwise.
    """
    name, bias = ("GRUModule", "update_bias") if gru else ("LSTMModule", "forget_bias")
    return (
        f"from lightning_clip import {name}",
        f'memory = {{"{bias}": "chrono", "max_lag": {lag}}}',
        f"model = {name}(in_features, out_features, **memory)",
    )


SCALE_TARGETS: Lines = (
    "mean, std = y_train.mean(), y_train.std()",
    "y_train = (y_train - mean) / std  # predictions: outputs * std + mean",
)

SKIP_NON_FINITE: Lines = (
    "from lightning_clip import NonFiniteGuard",
    'trainer = Trainer(callbacks=[NonFiniteGuard("skip")])',
)

HE_WEIGHTS: Lines = (
    "for layer in model.modules():",
    "    if isinstance(layer, nn.Linear):",
    '        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")',
)

ORTHOGONAL_WEIGHTS: Lines = (
    "for name, weight in model.named_parameters():",
    '    if "weight_hh" in name:  # each gate has its own square block',
    "        for block in weight.data.split(weight.shape[1]):",
    "            nn.init.orthogonal_(block)",
)
