"""`UpdateMonitor`: norms of weights and updates, on an interval."""

import lightning.pytorch as pl
import pytest

from lightning_clip import GradientClipping, GradientMonitor, NormClip, UpdateMonitor
from lightning_clip.callbacks.monitors import update_monitor
from lightning_clip.core.record.update_sizes import UPDATE_SIZES, UpdateSizes
from tests.support.training import Net, TwoOptimizers, assert_same_weights, loader, quiet_trainer


class Watching(pl.Callback):
    """Keeps the weights before each step and after the last one."""

    def __init__(self):
        self.weights = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.weights.append({name: param.detach().clone() for name, param in pl_module.named_parameters()})


def fit(module, *callbacks, **options):
    trainer = quiet_trainer(callbacks=list(callbacks), **options)
    trainer.fit(module, loader())
    return trainer


def sizes_in(observer):
    return [UpdateSizes.of_measurement(one) for one in observer.history.measurements.of(UPDATE_SIZES)]


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_norms_of_weights_and_updates_are_those_of_the_step(kind):
    """Each sample has the norm of every weight before a step and of what the step changed, clipped or not."""
    clipping, watching = GradientClipping(NormClip(0.5)), Watching()
    fit(Net(kind), UpdateMonitor(every_n_steps=4), watching, clipping)
    found = sizes_in(clipping)
    assert [one.step for one in found] == [0, 4, 8]
    for one in found:
        before, after = watching.weights[one.step], watching.weights[one.step + 1]
        assert set(one.names) == set(before)
        for name, dims, weight, update in zip(one.names, one.dims, one.weight_norms, one.update_norms, strict=True):
            assert dims == before[name].dim()
            assert weight == pytest.approx(float(before[name].norm()), rel=1e-5)
            assert update == pytest.approx(float((after[name] - before[name]).norm()), rel=1e-3)
        assert one.weight_norm == pytest.approx(sum(w**2 for w in one.weight_norms) ** 0.5, rel=1e-5)
        assert list(one.update_ratios.values()) == sorted(one.update_ratios.values(), reverse=True)


def test_training_stays_the_same_bit_for_bit():
    """Weights are equal with and without the monitor."""
    plain, watched = Net("adam"), Net("adam")
    fit(plain, GradientMonitor())
    fit(watched, GradientMonitor(), UpdateMonitor(every_n_steps=1))
    assert_same_weights(plain, watched)


def test_metrics_are_logged():
    """The total, the largest ratio of a matrix, the median and the total norm are there for callbacks to monitor."""
    monitor = UpdateMonitor(every_n_steps=6)
    trainer = fit(Net(), GradientMonitor(), monitor)
    ratios = monitor.latest.update_ratios
    matrices = [ratios["net.0.weight"], ratios["net.2.weight"]]
    assert float(trainer.callback_metrics["update_ratio/max"]) == pytest.approx(max(matrices))
    assert float(trainer.callback_metrics["update_ratio/total"]) == pytest.approx(monitor.latest.update_ratio)
    assert float(trainer.callback_metrics["weight_norm/total"]) == pytest.approx(monitor.latest.weight_norm)
    assert "update_ratio/median" in trainer.callback_metrics


def test_every_optimizer_is_measured():
    """Each optimizer has its own interval and its own parameters."""
    observer = GradientMonitor()
    trainer = fit(TwoOptimizers(), observer, UpdateMonitor(every_n_steps=10))
    found = sizes_in(observer)
    assert [(one.step, one.optimizer) for one in found] == [(0, 0), (1, 1), (10, 0), (11, 1), (20, 0), (21, 1)]
    assert set(found[1].names) == {"discriminator.weight", "discriminator.bias"}
    assert "update_ratio/total-1" in trainer.callback_metrics


def test_lbfgs_is_one_step():
    """LBFGS evaluates a step several times; the sample is of the whole step."""
    observer, watching = GradientMonitor(), Watching()
    fit(Net("lbfgs"), UpdateMonitor(every_n_steps=100), watching, observer, max_epochs=1)
    (found,) = sizes_in(observer)
    assert found.weight_norms[0] == pytest.approx(float(watching.weights[0][found.names[0]].norm()), rel=1e-5)


def test_a_step_that_was_not_made_is_no_sample():
    """Where the optimizer is not called, as a gradient scaler does, the next step is measured, and no hook is left."""

    class Skipping(Net):
        def optimizer_step(self, epoch, batch_idx, optimizer, closure):
            if batch_idx == 0:
                closure()
                for callback in self.trainer.callbacks:
                    callback.on_before_optimizer_step(self.trainer, self, self.trainer.optimizers[0])
            else:
                optimizer.step(closure)

    observer, module = GradientMonitor(), Skipping()
    trainer = fit(module, UpdateMonitor(every_n_steps=100), observer, max_epochs=1)
    (found,) = sizes_in(observer)
    assert found.update_norm > 0
    assert len(trainer.optimizers[0]._optimizer_step_post_hooks) <= 1  # the one of the step context


def test_an_error_is_one_warning_and_the_training_goes_on(monkeypatch):
    """The monitor stands aside, and the weights are those without it."""

    def fail(*args):
        raise RuntimeError("no memory")

    monkeypatch.setattr(update_monitor, "tensor_norms", fail)
    observer = GradientMonitor()
    with pytest.warns(UserWarning, match="UpdateMonitor cannot measure step . and stands aside: no memory") as warned:
        fit(Net(), observer, UpdateMonitor(every_n_steps=1))
    assert len([one for one in warned if "stands aside" in str(one.message)]) == 1
    assert sizes_in(observer) == []
    assert len(observer.history) == 12


def test_the_interval_survives_a_checkpoint(tmp_path):
    """A resumed run samples at the steps at which the whole run would have."""
    whole = GradientMonitor()
    fit(Net(), whole, UpdateMonitor(every_n_steps=5))
    first = quiet_trainer(callbacks=[GradientMonitor(), UpdateMonitor(every_n_steps=5)], max_epochs=1)
    first.fit(Net(), loader())
    first.save_checkpoint(tmp_path / "half.ckpt")
    resumed = GradientMonitor()
    second = quiet_trainer(callbacks=[resumed, UpdateMonitor(every_n_steps=5)])
    second.fit(Net(), loader(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert [one.to_measurement() for one in sizes_in(resumed)] == [one.to_measurement() for one in sizes_in(whole)]


def test_only_the_largest_ratios_of_many_are_kept():
    """A measurement lists a bounded number of parameters; those of zeros come last."""
    sizes = UpdateSizes(0, 0, 5.0, 1.0, ["a", "b", "c"], [1, 2, 1], [1.0, 2.0, 0.0], [0.1, 0.4, 3.0])
    assert sizes.largest_first().names == ["b", "a", "c"]
    assert sizes.largest_first(at_most=1).weight_norms == [2.0]
    assert sizes.update_ratios == {"a": 0.1, "b": 0.2}


def test_a_bad_interval_is_rejected():
    """The message quotes the call."""
    with pytest.raises(ValueError, match=r"UpdateMonitor\(every_n_steps=0\)"):
        UpdateMonitor(every_n_steps=0)
