"""What parameters are called, whatever their module has been wrapped in."""

from torch import nn

# Wrappers of `torch.compile` and of activation checkpointing put these into the names of what they hold.
_WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.")


def plain_name(name: str) -> str:
    """A parameter's name without the names of wrappers.

    Args:
        name: As in `named_parameters()`.

    Returns:
        The name in the module as it was written.

    Example:
        >>> plain_name("encoder._orig_mod.weight")
        'encoder.weight'
    """
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def parameter_names(module: nn.Module) -> dict[int, str]:
    """The names that records and rules know parameters by, for `Gradients.of_optimizer`.

    Args:
        module: The module whose parameters are trained; ask again after parameters have been replaced or added.

    Returns:
        Name by `id` of the parameter.
    """
    return {id(param): plain_name(name) for name, param in module.named_parameters()}
