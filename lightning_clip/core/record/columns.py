"""`packed_records` and `unpacked_records`: records in few bytes, for checkpoints; every value comes back as it was."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from lightning_clip.core.record.step_record import StepRecord

_FIELDS = [field.name for field in fields(StepRecord) if field.name != "params"]
_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)


def packed(column: Sequence[Any]) -> Any:
    """Encode a column so that a checkpoint grows by few bytes per record.

    A value that all rows share is kept once. Floats are float32 where that is exact, whole numbers as narrow as their
    range, repeated words numbered. Any other column stays a list.

    Args:
        column: The values, one per row.

    Returns:
        What `unpacked` decodes: plain types and tensors, loadable with `weights_only=True`.

    Example:
        >>> packed([0.5, 0.5, 0.5])
        {'all': 0.5, 'rows': 3}
        >>> unpacked(packed(["a", "b", "a"])), unpacked(packed([0.1, 2.0]))
        (['a', 'b', 'a'], [0.1, 2.0])
    """
    if not column:
        return []
    first, kinds = column[0], {type(value) for value in column}
    if len(kinds) == 1 and first != 0.0 and all(value == first for value in column):  # 0.0 may be -0.0
        return {"all": first, "rows": len(column)}
    if kinds == {float}:
        return _floats(torch.tensor(column, dtype=torch.float64))
    if kinds == {bool}:
        return torch.tensor(column)
    if kinds == {int}:
        return _integers(torch.tensor(column, dtype=torch.int64))
    if kinds == {str}:
        words = list(dict.fromkeys(column))
        number = {word: position for position, word in enumerate(words)}
        return {"words": words, "numbers": _integers(torch.tensor([number[value] for value in column]))}
    return list(column)


def unpacked(column: Any) -> list[Any]:
    """Decode what `packed` returned; a list, as earlier versions saved it, is returned as it is.

    Args:
        column: The encoded column.

    Returns:
        The values, one per row.
    """
    if isinstance(column, Tensor):
        return list(column.double().tolist() if column.is_floating_point() else column.tolist())
    if isinstance(column, dict):
        if "words" in column:
            return [column["words"][number] for number in column["numbers"].tolist()]
        return [column["all"]] * column["rows"]
    return list(column)


def packed_records(records: Sequence[StepRecord]) -> dict[str, Any]:
    """Encode records, without parameter norms, by field.

    Args:
        records: The records.
    """
    return {name: packed([getattr(record, name) for record in records]) for name in _FIELDS}


def unpacked_records(state: dict[str, Any]) -> list[StepRecord]:
    """Decode what `packed_records` returned, in this or an earlier version.

    Args:
        state: The encoded columns.
    """
    columns = {name: unpacked(column) for name, column in state.items()}
    return [StepRecord(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _floats(values: Tensor) -> Tensor:
    narrow = values.float()
    return narrow if torch.equal(narrow.double().nan_to_num(nan=0.0), values.nan_to_num(nan=0.0)) else values


def _integers(values: Tensor) -> Tensor:
    low, high = int(values.min()), int(values.max())
    return values.to(next(kind for kind in _INTEGERS if torch.iinfo(kind).min <= low and high <= torch.iinfo(kind).max))
