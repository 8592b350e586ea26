"""The format of a recurrent-spectrum measurement: its kind, its columns, and how to read them."""

KIND = "recurrent-spectrum"
"""The kind of the measurements that `RecurrentSpectrumMonitor` takes."""

SHARES = (
    "saturated_fraction",
    "dead_fraction",
    "forget_gate_mean",
    "forget_gate_max",
    "update_gate_mean",
    "update_gate_max",
    "saturated_gate_fraction",
)
"""The unit statistics for each recurrent weight; NaN if one does not apply or was not measured."""

Data = dict[str, float | str | list[float] | list[str]]


def column(data: Data, name: str) -> list[float]:
    """Return a list of numbers from the result of `SpectrumProbe.read`.

    Args:
        data: The data of a measurement.
        name: The name of the list.

    Returns:
        The numbers; empty if there is no such list.
    """
    values = data.get(name)
    return [value for value in values if not isinstance(value, str)] if isinstance(values, list) else []


def words(data: Data, name: str) -> list[str]:
    """Return a list of strings from the result of `SpectrumProbe.read`.

    Args:
        data: The data of a measurement.
        name: The name of the list.

    Returns:
        The strings; empty if there is no such list.
    """
    values = data.get(name)
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
