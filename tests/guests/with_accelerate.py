"""accelerate without transformers: the loop of the guide with a small LSTM, in one process and in two."""

import torch
from accelerate import Accelerator, PartialState, debug_launcher
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_clip import Gradients, NormClip, clip_
from lightning_clip.core import History, StepBuffer, parameter_names

LIMIT = 0.1
STEPS = 6


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def train(own: bool = True) -> dict[str, torch.Tensor]:
    """Train with our clipping or with accelerate's, with a step every two batches, and return the weights."""
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    rows = 8 * STEPS * accelerator.num_processes
    data = TensorDataset(torch.randn(rows, 9, 3), torch.randn(rows, 1))
    net = Net()
    net, optimizer, batches = accelerator.prepare(net, torch.optim.AdamW(net.parameters()), DataLoader(data, 4))
    names = parameter_names(accelerator.unwrap_model(net))
    strategy, buffer, history = NormClip(LIMIT), StepBuffer(), History()
    for x, y in batches:
        with accelerator.accumulate(net):
            loss = nn.functional.mse_loss(net(x), y)
            accelerator.backward(loss)
            if accelerator.sync_gradients and own:
                accelerator.unscale_gradients(optimizer)
                grads = Gradients.of_optimizer(optimizer.optimizer, names, step=len(buffer))
                buffer.add(clip_(grads, strategy, loss=loss))
            elif accelerator.sync_gradients:
                accelerator.clip_grad_norm_(net.parameters(), LIMIT)
            optimizer.step()
            optimizer.zero_grad()
    history.extend(buffer.flush())
    assert [record.clipped for record in history] == [True] * STEPS * own
    assert history.parameters.names == list(Net().state_dict()) or not own
    norms = torch.tensor([record.norm_before for record in history])
    assert torch.equal(accelerator.gather(norms), norms.repeat(accelerator.num_processes)), "the processes disagree"
    return accelerator.unwrap_model(net).state_dict()


def both() -> None:
    ends = [train(own) for own in (True, False)]
    off = max(float((ends[0][name] - ends[1][name]).abs().max()) for name in ends[0])
    assert off < 1e-7, off
    if PartialState().is_main_process:
        processes = PartialState().num_processes
        where = f"{STEPS} steps clipped in {'one process' if processes == 1 else f'{processes} processes'}"
        print(f"accelerate: {where}; the weights are those of clip_grad_norm_, up to {off:.1g}")


if __name__ == "__main__":
    debug_launcher(both, num_processes=2)  # first: processes forked later would believe to be the only one
    both()
