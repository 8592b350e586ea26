"""`InputEncoder`: encodes symbols or numbers as inputs of a recurrent layer."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lightning_clip._checks import check_rule


class InputEncoder(nn.Module):
    """Encodes symbols as one-hot vectors or learned embeddings; passes numbers through unchanged.

    Args:
        in_features: Number of inputs at each step, or of symbols.
        embedding_dim: Size of the embeddings; `None` for one-hot vectors.

    Attributes:
        out_features: Number of features at each step of the encoded inputs.

    Example:
        >>> InputEncoder(3)(torch.tensor([[0, 2]]))
        tensor([[[1., 0., 0.],
                 [0., 0., 1.]]])
    """

    def __init__(self, in_features: int, embedding_dim: int | None = None) -> None:
        super().__init__()
        self.in_features = in_features
        self.embedding_dim = embedding_dim
        self.out_features = embedding_dim or in_features
        self.embedding = None if embedding_dim is None else nn.Embedding(in_features, embedding_dim)

    def forward(self, inputs: Tensor) -> Tensor:
        """Encode a batch.

        Args:
            inputs: Numbers `(batch, steps, in_features)`, or symbols `(batch, steps)` in [0, in_features).

        Returns:
            `(batch, steps, out_features)`.

        Raises:
            ArgumentError: The inputs have the wrong number of features, or are numbers but there is an embedding.
        """
        is_number = inputs.is_floating_point()
        call = f"InputEncoder({self.extra_repr()})"
        if self.embedding is not None:
            rule = "an embedding requires integer symbols; set embedding_dim=None for numbers"
            check_rule(call, rule, holds=not is_number)
            embedded: Tensor = self.embedding(inputs)
            return embedded
        if not is_number:
            return F.one_hot(inputs, self.in_features).to(torch.get_default_dtype())
        width = inputs.shape[-1]
        rule = f"the inputs have {width} features; set in_features={width}"
        check_rule(call, rule, holds=width == self.in_features)
        return inputs

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return f"in_features={self.in_features}, embedding_dim={self.embedding_dim}"
