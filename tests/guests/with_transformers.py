"""Hugging Face: a tiny random model in `transformers.Trainer` with the callback of the guide."""

import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

from lightning_clip import ClipStrategy, Gradients, NormClip, clip_
from lightning_clip.core import History, StepBuffer, parameter_names


class ClipGradients(TrainerCallback):
    """Clips and records before each optimizer step; use it with `TrainingArguments(max_grad_norm=0)`."""

    def __init__(self, strategy: ClipStrategy) -> None:
        self.strategy, self.buffer, self.history = strategy, StepBuffer(), History()

    def on_pre_optimizer_step(self, args, state, control, model, optimizer, **kwargs):
        inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
        grads = Gradients.of_optimizer(inner, parameter_names(model), step=state.global_step)
        self.buffer.add(clip_(grads, self.strategy))

    def on_log(self, args, state, control, **kwargs):
        self.history.extend(self.buffer.flush())


torch.manual_seed(0)
config = GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2)
data = [{"input_ids": row, "labels": row} for row in torch.randint(0, 50, (32, 8))]
ends = []
for own in (True, False):
    torch.manual_seed(0)
    model, callback = GPT2LMHeadModel(config), ClipGradients(NormClip(0.1))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=6,
            logging_steps=3,
            per_device_train_batch_size=4,
            max_grad_norm=0 if own else 0.1,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
        )
        Trainer(model, arguments, train_dataset=data, callbacks=[callback] if own else []).train()
    ends.append(model.state_dict())
    if own:
        assert [record.clipped for record in callback.history] == [True] * 6
off = max(float((ends[0][name] - ends[1][name]).abs().max()) for name in ends[0])
assert off < 1e-7, off
print(f"transformers: 6 steps clipped; the weights are those of max_grad_norm, up to {off:.1g}")
