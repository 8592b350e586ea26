"""LightningModules and recurrent layers, one file each."""

from lightning_clip.modules.gru import GRUModule
from lightning_clip.modules.layers.clipped_lstm import ClippedLSTM
from lightning_clip.modules.layers.clipped_rnn import ClippedRNN
from lightning_clip.modules.layers.layer_norm_rnn import LayerNormRNN
from lightning_clip.modules.lstm import LSTMModule
from lightning_clip.modules.mlp import MLPRegressor
from lightning_clip.modules.optimized_module import OptimizedModule
from lightning_clip.modules.recurrent_module import RecurrentModule
from lightning_clip.modules.rnn import RNNModule
from lightning_clip.modules.tbptt.stateful_mixin import StatefulMixin
from lightning_clip.modules.tbptt.truncated_bptt_mixin import TruncatedBPTTMixin
from lightning_clip.modules.tbptt_module import TBPTTModule
from lightning_clip.modules.tbptt_sequence import TBPTTSequenceModule
from lightning_clip.modules.vanishing_gradient_regularizer import VanishingGradientRegularizer

__all__ = [
    "ClippedLSTM",
    "ClippedRNN",
    "GRUModule",
    "LSTMModule",
    "LayerNormRNN",
    "MLPRegressor",
    "OptimizedModule",
    "RNNModule",
    "RecurrentModule",
    "StatefulMixin",
    "TBPTTModule",
    "TBPTTSequenceModule",
    "TruncatedBPTTMixin",
    "VanishingGradientRegularizer",
]
