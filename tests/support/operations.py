"""Counting of the tensor operations of a piece of code."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

# They compute nothing on elements.
NOT_OPERATIONS = ("aten.detach.default", "aten.lift_fresh.default", "aten.promote_types.default")


class Operations(TorchDispatchMode):
    """Counts the operations of torch by name; views, which touch no memory, are left out.

    Attributes:
        counts: How often each operation ran.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if not func.is_view and str(func) not in NOT_OPERATIONS:
            self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        """The number of operations."""
        return self.counts.total()
