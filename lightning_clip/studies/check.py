"""`check_study`: find the mistakes in a study before its first run."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from lightning.pytorch import Callback, LightningDataModule, LightningModule

from lightning_clip._errors import InputError, is_known
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.studies.cell import Cell
from lightning_clip.studies.comparison.result import key_name
from lightning_clip.studies.experiment import Experiment
from lightning_clip.studies.factory import build
from lightning_clip.studies.study import OVERRIDES, Study
from lightning_clip.studies.training import make_trainer, quiet_lightning

__all__ = ["check_study"]

_SETTING_KEYS = {"axes", "models", "strategies", "callbacks", *OVERRIDES}
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
    _check_grid(study)
    tried: set[str] = set()
    for where, base, config in _parts(study):
        if f"{base}{config}" not in tried:
            tried.add(f"{base}{config}")
            _try(where, partial(build, base, config))
    for options in {repr(cell.trainer): cell.trainer for cell in study.cells()}.values():
        with quiet_lightning():
            _try("max_epochs or trainer", partial(make_trainer, [], options), TypeError, ValueError)


def _check_types(study: Study) -> None:
    for name, hint in get_type_hints(Study).items():
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        plain = tuple(get_origin(kind) or kind for kind in kinds)
        value = getattr(study, name)
        if not isinstance(value, plain):
            raise InputError(f"{name}: expected {_WORDS[plain[0]]}, found {value!r}")
    if study.experiment is None and study.data is None:
        raise InputError("data: expected keys and values, found None; training needs data")
    if unknown := [split for split in study.evaluate_on if split not in _SPLITS]:
        raise InputError(f"evaluate_on: {unknown[0]!r} is not one of {', '.join(_SPLITS)}")
    if study.seeds < 1:
        raise InputError(f"seeds: {study.seeds}: a study needs at least one seed")


def _check_names(study: Study) -> None:
    for group, names in (("name", [study.name]), ("models", study.models), ("strategies", study.strategies)):
        for name in names:
            if not isinstance(name, str) or not name or set(name) & set("/\\"):
                raise InputError(f"{group}: {name!r}: a name becomes part of file names: use a string without slashes")


def _check_settings(study: Study) -> None:
    for number, setting in enumerate(study.settings, start=1):
        where = f"settings: number {number}"
        if not isinstance(setting, dict) or not setting.keys() <= _SETTING_KEYS:
            found = ", ".join(map(str, setting)) if isinstance(setting, dict) else repr(setting)
            raise InputError(f"{where}: expected keys among {', '.join(sorted(_SETTING_KEYS))}, found {found}")
        axes = setting.get("axes", {})
        if not isinstance(axes, dict) or not all(_is_axis(name, value) for name, value in axes.items()):
            raise InputError(f"{where}: axes: expected a number or a word for each name, found {axes!r}")
        for group, known in (("models", study.models), ("strategies", study.strategies)):
            if unknown := set(setting.get(group, ())) - known.keys():
                raise InputError(f"{where}: {', '.join(sorted(unknown))}: not among the study's {group}")


def _is_axis(name: Any, value: Any) -> bool:
    is_value = isinstance(value, int | float | str) and not isinstance(value, bool)
    return isinstance(name, str) and is_value and not set(f"{name}{value}") & set("/\\")


def _check_grid(study: Study) -> None:
    for model, strategies in study.grid.items():
        unknown = {model} - study.models.keys() | set(strategies) - study.strategies.keys()
        if unknown:
            raise InputError(f"grid.{model}: {', '.join(sorted(unknown))}: not among the study's models and strategies")
    if not all(isinstance(config, dict) for config in (*study.models.values(), *study.strategies.values())):
        return  # building it gives the better message
    cells = [cell for cell in study.cells() if cell.seed == 0]
    if not cells:
        raise InputError("models, strategies: a study needs at least one of each")
    twice = [name for name, count in Counter(key_name(cell.key)[:-2] for cell in cells).items() if count > 1]
    if twice:
        raise InputError(f"models, strategies: two runs would write the same record, {twice[0]}; rename one")


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
