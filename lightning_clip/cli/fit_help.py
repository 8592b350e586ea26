"""The help of `fit`: what most runs need, in one screen, without importing Lightning. `--help-all` shows the rest."""

import textwrap

from lightning_clip.cli.catalog import entries

_HELP = """\
usage: lightning-clip {command} [options]

{about}

  --config FILE           a YAML file, or the name of a configuration that is installed with the package, such as
                          clip/norm (`lightning-clip list configs`); may be repeated, and a later one adds to an
                          earlier one
  --model CLASS           the network: a name below, or a class of your own as module.Class, where the module is
                          a .py file in the working folder; --model.ARGUMENT VALUE sets an argument
  --data CLASS            the data module: a name below, or a class of your own; --data.ARGUMENT VALUE
  --trainer.ARGUMENT VALUE
                          an argument of Lightning's Trainer: max_epochs, accelerator, devices, precision, …
  --trainer.callbacks+=CLASS
                          add a callback: GradientClipping, StrategySwitcher, NonFiniteGuard, …
  --trainer.callbacks.strategy=CLASS
                          its strategy; --trainer.callbacks.strategy.ARGUMENT VALUE sets an argument
  --optimizer, --lr_scheduler
                          for a network that has none
  --ckpt_path FILE        resume from, or evaluate, a checkpoint
  --seed_everything N     the seed, 0 by default
  --no-report             do not print the report when a fit ends
  --print_config          print the whole configuration as YAML, and do nothing
  --help-all              every option, of the Trainer too
  --model.help CLASS      the arguments of a class; so do --data.help CLASS and --trainer.callbacks.help CLASS

{names}
Examples:
  lightning-clip fit --config trainer --config model/mlp --config data/regression --config clip/norm
  lightning-clip fit --model MLPRegressor --data RegressionDataModule --trainer.max_epochs=5 \\
      --trainer.callbacks+=GradientClipping --trainer.callbacks.strategy=AutoClip
"""

_ABOUT = {
    "fit": "Train a network, and print the report of its gradients.",
    "validate": "Evaluate a network on the validation data.",
    "test": "Evaluate a network on the test data.",
    "predict": "Run a network on the prediction data.",
}


def fit_help(command: str) -> str:
    """Return the help of one of Lightning's commands.

    Args:
        command: `"fit"`, `"validate"`, `"test"` or `"predict"`.
    """
    names = "".join(_listed(kind) for kind in ("modules", "data", "callbacks", "strategies"))
    return _HELP.format(command=command, about=_ABOUT[command], names=names)


def _listed(kind: str) -> str:
    names = ", ".join(name for name, _ in entries(kind) if not name.endswith("Mixin"))
    return textwrap.fill(names, 112, initial_indent=f"{kind + ':':<12}", subsequent_indent=" " * 12) + "\n"
