"""Names that a package offers without importing where they come from until one is used."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: Sequence[str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make a package's `__getattr__` and `__dir__`.

    Args:
        package: The name of the package.
        modules: Modules inside it whose `__all__` it offers, light ones first: they are searched in order.

    Returns:
        The two functions.
    """

    def find(name: str) -> Any:
        if name == "__all__":
            return names()
        if not name.startswith("_"):
            for module in modules:
                found = import_module(f"{package}.{module}")
                if name in found.__all__:
                    return getattr(found, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted(name for module in modules for name in import_module(f"{package}.{module}").__all__)

    return find, names
