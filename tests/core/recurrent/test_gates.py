"""Gate norms of LSTM and GRU layers."""

import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from lightning_clip import Gradients
from lightning_clip.core import StepRecord
from lightning_clip.core.record.step_record import ParamNorms
from lightning_clip.core.recurrent.gates import GATE_NORMS, GATES, GateMeter, gate_measurements
from tests.support.ranks import on_two_ranks

LAYERS = [
    nn.LSTM(2, 3, num_layers=2, bidirectional=True),
    nn.LSTM(2, 5, proj_size=3, bias=False),
    nn.GRU(2, 3),
    nn.LSTMCell(2, 3),
    nn.GRUCell(2, 3),
]


def with_gradients(module: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for param in module.to(dtype).parameters():
        param.grad = torch.randn(param.shape, generator=generator).to(dtype)
    return module


def measured(module: nn.Module, step: int = 0) -> dict[str, torch.Tensor]:
    meter = GateMeter(50)
    meter.watch(module)
    return dict(meter.measure(Gradients.of_module(module, step=step), 0))


def steps_measured(meter: GateMeter, module: nn.Module, steps: range, optimizer: int = 0) -> list[int]:
    meter.watch(module)
    return [step for step in steps if meter.measure(Gradients.of_module(module, step=step), optimizer)]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_each_gate_has_the_norm_of_its_rows(layer, dtype):
    """Norms are per block in torch's order; projections have no gates."""
    with_gradients(layer, dtype)
    norms = measured(layer)
    assert set(norms) == {name for name, _ in layer.named_parameters() if "_hr" not in name}
    gates = 4 if isinstance(layer, nn.LSTM | nn.LSTMCell) else 3
    for name, found in norms.items():
        grad = layer.get_parameter(name).grad.double()
        rows = len(grad) // gates
        expected = [float((grad[k * rows : (k + 1) * rows] ** 2).sum().sqrt()) for k in range(gates)]
        assert found.tolist() == pytest.approx(expected, rel=1e-5)
        assert len(GATES[len(found)]) == gates


def test_the_forget_gate_is_where_torch_has_it():
    """With the input gate closed, only the forget and output gates get a gradient."""
    lstm = nn.LSTM(1, 2)
    with torch.no_grad():
        for param in lstm.parameters():
            param.fill_(0.5)
        lstm.bias_ih_l0[0:2] = -200.0
    lstm(torch.ones(3, 1, 1), (torch.ones(1, 1, 2), torch.ones(1, 1, 2)))[0].sum().backward()
    norms = dict(zip(GATES[4], measured(lstm)["weight_hh_l0"].tolist(), strict=True))
    assert [name for name, norm in norms.items() if norm > 0] == ["forget", "output"]


def test_a_plain_recurrence_and_other_layers_have_no_gates():
    """Layers without gates are not measured."""
    assert measured(with_gradients(nn.ModuleList([nn.RNN(2, 3), nn.Linear(2, 3), nn.RNNCell(2, 3)]))) == {}


def test_names_have_no_wrapper_prefix():
    """Names are the same as in the record."""
    module = nn.ModuleDict({"_orig_mod": nn.ModuleDict({"gru": nn.GRU(1, 1, bias=False)})})
    assert set(measured(with_gradients(module))) == {"gru.weight_ih_l0", "gru.weight_hh_l0"}


def test_frozen_parameters_are_ignored():
    """Parameters without a gradient have no norms."""
    layer = with_gradients(nn.GRU(2, 3))
    layer.weight_hh_l0.grad = None
    assert set(measured(layer)) == {"weight_ih_l0", "bias_ih_l0", "bias_hh_l0"}


def test_it_measures_at_the_first_step_of_each_interval():
    """Each optimizer has its own intervals; if the first step of one is missing, a later step is measured."""
    layer, meter = with_gradients(nn.GRU(1, 1)), GateMeter(10)
    assert steps_measured(meter, layer, range(0, 35, 1)) == [0, 10, 20, 30]
    assert steps_measured(meter, layer, range(3, 35, 4), optimizer=1) == [3, 11, 23, 31]


def test_it_measures_again_if_a_step_is_evaluated_again():
    """LBFGS evaluates a step several times, and its record is that of the last evaluation."""
    layer, meter = with_gradients(nn.GRU(1, 1)), GateMeter(10)
    assert steps_measured(meter, layer, [0, 0, 0, 1, 1]) == [0, 0, 0]


def test_it_measures_at_any_step_when_asked():
    """`now=True` measures at once, and the next interval is measured as usual."""
    layer, meter = with_gradients(nn.GRU(1, 1)), GateMeter(10)
    meter.watch(layer)
    grads = [Gradients.of_module(layer, step=step) for step in range(12)]
    asked = [bool(meter.measure(one, 0, now=one.step in (4, 9))) for one in grads]
    assert [step for step, found in enumerate(asked) if found] == [0, 4, 9, 10]


def test_a_step_without_gradients_does_not_count_as_a_measurement():
    """The next step is measured instead, for instance after the scaler found infinity."""
    layer, meter = with_gradients(nn.GRU(1, 1)), GateMeter(10)
    meter.watch(layer)
    assert meter.measure(Gradients([], [], step=0), 0) == {}
    assert meter.measure(Gradients.of_module(layer, step=1), 0)


def test_a_restored_meter_continues():
    """It does not measure an interval twice."""
    layer, first, second = with_gradients(nn.GRU(1, 1)), GateMeter(10), GateMeter(10)
    assert steps_measured(first, layer, range(13)) == [0, 10]
    second.load_state_dict(first.state_dict())
    assert steps_measured(second, layer, range(13, 25)) == [20]


def test_a_run_that_starts_again_is_measured_again():
    """The steps of an earlier fit do not prevent measurements in a new one."""
    layer, meter = with_gradients(nn.GRU(1, 1)), GateMeter(10)
    assert steps_measured(meter, layer, range(25)) == [0, 10, 20]
    assert steps_measured(meter, layer, range(3)) == [0]


def test_nothing_is_read_from_the_device():
    """Measuring runs on the meta device, where a read would raise."""
    layer = nn.LSTM(2, 3, device="meta")
    for param in layer.parameters():
        param.grad = torch.empty_like(param)
    assert all(norms.is_meta and norms.shape == (4,) for norms in measured(layer).values())


def test_gradients_are_unchanged():
    """Gradients keep every bit and their memory."""
    layer = with_gradients(nn.LSTM(2, 3))
    before = [(param.grad.data_ptr(), param.grad.clone()) for param in layer.parameters()]
    measured(layer)
    for param, (memory, grad) in zip(layer.parameters(), before, strict=True):
        assert param.grad.data_ptr() == memory
        assert torch.equal(param.grad, grad)


def _sharded_gradients_are_ignored(rank: int) -> None:
    mesh = init_device_mesh("cpu", (2,))
    layer = nn.GRU(2, 4, bias=False)
    sharded = nn.Parameter(distribute_tensor(layer.weight_hh_l0.detach(), mesh, [Shard(0)]))
    layer._parameters["weight_hh_l0"] = sharded
    for param in layer.parameters():
        param.grad = torch.ones_like(param)
    assert set(measured(layer)) == {"weight_ih_l0"}


@pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no torch.distributed")
def test_sharded_gradients_are_ignored(tmp_path):
    """They are not measured, because a gate's rows may be spread over processes."""
    on_two_ranks(_sharded_gradients_are_ignored, tmp_path)


def record(step: int, gates: dict[str, list[float]], *, norm: float = 1.0) -> StepRecord:
    params = ParamNorms(("w",), np.array([norm]), np.zeros(1, dtype=bool), gates)
    finite = math.isfinite(norm)
    return StepRecord(step, 0, "A()", norm, norm, None, 1.0, False, finite, False, params=params)


def test_only_finite_steps_give_measurements():
    """Steps without gate norms, or with a NaN or infinite one, give no measurement."""
    good, nan, inf = {"w": [1.0, 2.0, 3.0]}, {"w": [math.nan, 1.0, 1.0]}, {"w": [math.inf, 1.0, 1.0]}
    without = record(5, good)
    without.params = None
    records = [record(0, good), record(1, {}), record(2, nan, norm=math.nan), record(3, inf), without, record(6, good)]
    found = gate_measurements(records)
    assert [(one.step, one.kind, one.data) for one in found] == [(0, GATE_NORMS, good), (6, GATE_NORMS, good)]
