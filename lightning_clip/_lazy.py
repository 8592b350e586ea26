"""`lazy_names`: lets a package export names without importing their modules until one is used."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_names(
    package: str,
    modules: Sequence[str],
    *,
    offered: Sequence[str] | None = None,
    elsewhere: Mapping[str, str] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Create the `__getattr__` and `__dir__` of a package with lazy imports.

    Args:
        package: The name of the package.
        modules: The modules of the package that define its names, in the order in which they are searched; put light
            modules first.
        offered: The names that the package exports; by default every name in the modules' `__all__`.
        elsewhere: Names that are imported directly from a module that is not searched, with that module.

    Returns:
        The functions `__getattr__` and `__dir__`.
    """
    homes = dict(elsewhere or {})

    def find(name: str) -> Any:
        if name == "__all__":
            return names()
        if not name.startswith("_") and (offered is None or name in offered):
            for module in [homes[name]] if name in homes else modules:
                found = import_module(f"{package}.{module}")
                if name in found.__all__:
                    return getattr(found, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        if offered is not None:
            return sorted(offered)
        found = {name for module in modules for name in import_module(f"{package}.{module}").__all__}
        return sorted(found | homes.keys())

    return find, names
