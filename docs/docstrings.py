"""A Griffe extension: `Example:` sections hold doctests, as `Examples:` does, which is the only word Griffe knows."""

from typing import Any

from griffe import Extension, Object


class DoctestSections(Extension):
    """Renames the sections while the package is read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rename the sections of one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
