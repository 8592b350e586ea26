"""`lazy_names`: names that a package offers without importing where they come from until one is used."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, modules: Sequence[str], *, offered: Sequence[str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make a package's `__getattr__` and `__dir__`.

    Args:
        package: The name of the package.
        modules: Modules inside it that define its names, light ones first: they are searched in order.
        offered: The names that it offers; every name in the modules' `__all__` by default.

    Returns:
        The two functions.
    """

    def find(name: str) -> Any:
        if name == "__all__":
            return names()
        if not name.startswith("_") and (offered is None or name in offered):
            for module in modules:
                found = import_module(f"{package}.{module}")
                if name in found.__all__:
                    return getattr(found, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        if offered is not None:
            return sorted(offered)
        return sorted(name for module in modules for name in import_module(f"{package}.{module}").__all__)

    return find, names
