"""`by_module`: the share of each module of a network in the squared norm, at the depth that gives few modules."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_clip.reports.summary import ParameterSummary

MANY_PARAMETERS = 24
"""With more parameters, a report shows the share of each module too."""


@dataclass(frozen=True, slots=True)
class ModuleSummary:
    """The gradients of one module over a run.

    Attributes:
        name: The name of the module; that of the parameter for a parameter of the network itself.
        parameters: The number of its parameters.
        elements: The number of their elements; `None` if unknown.
        share: Their share of the squared total norm, in [0, 1].
    """

    name: str
    parameters: int
    elements: int | None
    share: float


def by_module(parameters: Sequence[ParameterSummary], *, at_most: int) -> list[ModuleSummary]:
    """Add up parameters by module, as deep in the network as gives at most so many modules.

    Args:
        parameters: The parameters.
        at_most: The number of modules; there may be more if the outermost level has more.

    Returns:
        The modules, the largest share first.

    Example:
        >>> names = ["body.0.weight", "body.0.bias", "body.1.weight", "head.weight"]
        >>> found = by_module([ParameterSummary(name, 2, 1, 1.0, 1.0, 0.25, 0.0) for name in names], at_most=3)
        >>> [(one.name, one.parameters, one.share) for one in found]
        [('body.0', 2, 0.5), ('body.1', 1, 0.25), ('head', 1, 0.25)]
    """
    paths = [one.name.split(".")[:-1] or [one.name] for one in parameters]
    depth = 1
    while depth < max(map(len, paths), default=1) and len({tuple(path[: depth + 1]) for path in paths}) <= at_most:
        depth += 1
    groups: dict[str, list[ParameterSummary]] = {}
    for one, path in zip(parameters, paths, strict=True):
        groups.setdefault(".".join(path[:depth]), []).append(one)
    found = [
        ModuleSummary(name, len(own), _sum([one.elements for one in own]), sum(one.share for one in own))
        for name, own in groups.items()
    ]
    return sorted(found, key=lambda one: -one.share)


def _sum(elements: Sequence[int | None]) -> int | None:
    known = [count for count in elements if count is not None]
    return sum(known) if len(known) == len(elements) else None
