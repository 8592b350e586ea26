"""`check_study`: find the mistakes in a study before its first run."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from lightning.pytorch import Callback, LightningDataModule, LightningModule

from lightning_clip._checks import did_you_mean
from lightning_clip._errors import InputError, is_known, printable
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.modules.optimized_module import OptimizedModule
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import key_name
from lightning_clip.studies.experiment import Experiment
from lightning_clip.studies.factory import build
from lightning_clip.studies.study import OVERRIDES, Study
from lightning_clip.studies.training import make_trainer, quiet_lightning

__all__ = ["check_study"]

_SETTING_KEYS = ("axes", "callbacks", "models", "strategies", *OVERRIDES)
_LONGEST_NAME = 100
_LONGEST_RECORD = 240
_SPLITS = ("train", "test")


def check_study(study: Study) -> None:
    """Check a study by building each of its parts once.

    Args:
        study: The study.

    Raises:
        InputError: A part cannot be built, or two parts do not fit together. The message says which and why.
        Exception: Any other exception that a constructor raises.
    """
    _check_types(study)
    _check_names(study)
    _check_settings(study)
    _check_axes(study)
    _check_grid(study)
    _check_lengths(study)
    tried: set[str] = set()
    for where, base, config in _parts(study):
        if f"{base}{config}" not in tried:
            tried.add(f"{base}{config}")
            _try(where, partial(_built, base, config))
    for options in {repr(cell.trainer): cell.trainer for cell in study.cells()}.values():
        shown = ", ".join(f"{name}={value!r}" for name, value in options.items())
        with quiet_lightning():
            _try(f"max_epochs or trainer: Trainer({shown})", partial(make_trainer, [], options), TypeError, ValueError)


def _built(base: type, config: Any) -> None:
    part: object = build(base, config)
    if isinstance(part, OptimizedModule):
        part.configure_optimizers()


def _check_types(study: Study) -> None:
    for name, hint in get_type_hints(Study).items():
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        plain = tuple(get_origin(kind) or kind for kind in kinds)
        value = getattr(study, name)
        if not isinstance(value, plain) or isinstance(value, bool):
            raise InputError(f"{name}: expected {_WORDS[plain[0]]}, found {value!r}")
    if study.experiment is None and study.data is None:
        raise InputError("data: expected keys and values, found None; training needs data")
    if unknown := [split for split in study.evaluate_on if split not in _SPLITS]:
        raise InputError(f"evaluate_on: {unknown[0]!r} is not one of {', '.join(_SPLITS)}")
    if study.seeds < 1:
        raise InputError(f"seeds: {study.seeds}: a study needs at least one seed")
    if study.first_seed < 0:
        raise InputError(f"first_seed: {study.first_seed}: seeds are at least 0")
    if wrong := [metric for metric in study.metrics if not isinstance(metric, str)]:
        raise InputError(f"metrics: expected the names of metrics, found {wrong[0]!r}")


def _check_names(study: Study) -> None:
    for group, names in (("name", [study.name]), ("models", study.models), ("strategies", study.strategies)):
        for name in names:
            _check_name(group, name)


def _check_name(where: str, name: Any) -> None:
    """Raise unless a name can be a part of the names of files, and be printed."""
    is_plain = isinstance(name, str) and not set(name) & set("/\\") and name not in ("", ".", "..")
    if not is_plain or printable(name) != name or "\n" in name:
        raise InputError(
            f"{where}: {name!r}: a name becomes part of file names: use a string without slashes or control characters"
        )
    if len(name.encode()) > _LONGEST_NAME:
        raise InputError(f"{where}: {name!r}: too long; a name has at most {_LONGEST_NAME} characters")


def _check_settings(study: Study) -> None:
    for number, setting in enumerate(study.settings, start=1):
        where = f"settings: number {number}"
        if not isinstance(setting, dict) or not set(setting) <= set(_SETTING_KEYS):
            unknown = [key for key in setting if key not in _SETTING_KEYS] if isinstance(setting, dict) else [setting]
            similar = did_you_mean(unknown[0], _SETTING_KEYS)
            raise InputError(f"{where}: expected keys among {', '.join(_SETTING_KEYS)}, found {unknown[0]!r}{similar}")
        axes = setting.get("axes", {})
        if not isinstance(axes, dict) or not all(_is_axis(name, value) for name, value in axes.items()):
            raise InputError(f"{where}: axes: expected a number or a word for each name, found {axes!r}")
        for axis, value in axes.items():
            _check_name(f"{where}: axes", axis)
            _check_name(f"{where}: axes: {axis}", str(value))
        for group, known in (("models", study.models), ("strategies", study.strategies)):
            _check_members(f"{where}: {group}", setting.get(group, []), known, f"the study's {group}")


def _check_axes(study: Study) -> None:
    """Raise for an axis that only some settings have, if its name is probably a misspelling of another one."""
    named = [setting.get("axes", {}) for setting in study.settings]
    count = Counter(axis for axes in named for axis in axes)
    for axis in sorted(count, key=lambda name: count[name]):
        others = [name for name in count if name != axis and not any(name in axes for axes in named if axis in axes)]
        if similar := did_you_mean(axis, others):
            number = next(number for number, axes in enumerate(named, start=1) if axis in axes)
            where = f"settings: number {number}: axes"
            raise InputError(f"{where}: {axis!r} is no axis of the other settings{similar}")


def _check_members(where: str, names: Any, known: Iterable[str], words: str) -> None:
    if not isinstance(names, list):
        raise InputError(f"{where}: expected a list of names, found {names!r}")
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"{where}: {unknown[0]!r} is not among {words}{did_you_mean(unknown[0], known)}")


def _is_axis(name: Any, value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(name, str) and (is_number or isinstance(value, str))


def _check_grid(study: Study) -> None:
    _check_members("grid", list(study.grid), study.models, "the study's models")
    for model, strategies in study.grid.items():
        _check_members(f"grid.{model}", strategies, study.strategies, "the study's strategies")
    for group, configs in (("models", study.models), ("strategies", study.strategies)):
        for name, config in configs.items():
            if not isinstance(config, dict):
                raise InputError(f"{group}.{name}: expected class_path and init_args, found {config!r}")
    cells = [cell for cell in study.cells() if cell.seed == study.first_seed]
    if not cells:
        raise InputError("models, strategies: a study needs at least one of each")
    twice = [
        name for name, count in Counter(key_name(cell.key).rpartition("-")[0] for cell in cells).items() if count > 1
    ]
    if twice:
        raise InputError(f"models, strategies: two runs would write the same record, {twice[0]}; rename one")
    if long := [name for name in (key_name(cell.key) for cell in cells) if len(name.encode()) > _LONGEST_RECORD]:
        raise InputError(f"models, strategies: {long[0]!r}: too long for the name of a record; shorten the names")


def _check_lengths(study: Study) -> None:
    """Raise for runs that would end before they have begun."""
    for cell in (cell for cell in study.cells() if cell.experiment is None):
        for name in ("max_epochs", "max_steps"):
            if cell.trainer.get(name) == 0:
                raise InputError(f"{name}: 0: a run needs at least one")
        if cell.trainer.get("limit_train_batches") == 0:
            raise InputError("limit_train_batches: 0: a run needs at least one batch")
        if isinstance(cell.trainer.get("max_epochs"), bool):
            raise InputError(f"max_epochs: expected a whole number, found {cell.trainer['max_epochs']!r}")
        if limit := cell.trainer.get("gradient_clip_val"):
            remedy = f"add a strategy such as NormClip({limit!r}) and remove it"
            raise InputError(f"trainer: gradient_clip_val: {limit!r}: a study clips by its strategies; {remedy}")


def _parts(study: Study) -> Iterator[tuple[str, type, Any]]:
    """Each part and where it comes from: first as the study states it, then with the changes of each cell."""
    for name, config in study.models.items():
        if config != {} or study.experiment is None:
            yield f"models.{name}", LightningModule, config
    for name, config in study.strategies.items():
        own = {k: v for k, v in config.items() if k not in OVERRIDES} if isinstance(config, dict) else config
        yield f"strategies.{name}", ClipStrategy, own
    if study.data is not None:
        yield "data", LightningDataModule, study.data
    for cell in study.cells():
        for number, config in enumerate(cell.callbacks, start=1):
            yield f"callbacks: number {number}", Callback, config
        if cell.model != {}:
            yield f"model of {_name(cell)}", LightningModule, cell.model
        if cell.data is not None:
            yield f"data of {_name(cell)}", LightningDataModule, cell.data
        if cell.experiment is not None:
            yield f"experiment of {_name(cell)}", Experiment, cell.experiment


def _name(cell: Cell) -> str:
    return ", ".join([cell.model_name, cell.strategy_name, *(f"{name} {value}" for name, value in cell.axes.items())])


def _try(where: str, make: Callable[[], object], *errors: type[Exception]) -> None:
    try:
        make()
    except Exception as error:
        if not (is_known(error) or isinstance(error, errors)):
            raise
        raise InputError(f"{where}: {error}") from error


_WORDS: dict[type, str] = {str: "a string", int: "a whole number", dict: "keys and values", list: "a list"}
