"""Parameter names without the prefixes that `torch.compile` and activation checkpointing add."""

from torch import nn

_WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.")


def plain_name(name: str) -> str:
    """Return a parameter's name without the prefixes of wrappers.

    Args:
        name: The name from `named_parameters()`.

    Returns:
        The name that the parameter has in the unwrapped module.

    Example:
        >>> plain_name("encoder._orig_mod.weight")
        'encoder.weight'
    """
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def parameter_names(module: nn.Module) -> dict[int, str]:
    """Return the names that records and strategies use for parameters; pass them to `Gradients.of_optimizer`.

    Call it again after parameters have been replaced or added.

    Args:
        module: The module being trained.

    Returns:
        The name of each parameter, by its `id`.
    """
    return {id(param): plain_name(name) for name, param in module.named_parameters()}
