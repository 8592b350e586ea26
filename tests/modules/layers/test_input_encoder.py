"""`InputEncoder`: numbers and symbols."""

import pytest
import torch

from lightning_clip.modules.layers.input_encoder import InputEncoder


def test_numbers_stay_as_they_are():
    """Numbers are returned as the same tensor."""
    encoder, x = InputEncoder(3), torch.randn(2, 5, 3)
    assert encoder(x) is x
    assert encoder.out_features == 3
    assert not list(encoder.parameters())


def test_symbols_become_unit_vectors():
    """Symbols become one-hot vectors of floating point numbers."""
    vectors = InputEncoder(3)(torch.tensor([[0, 2, 1]]))
    assert vectors.dtype == torch.float32
    assert vectors.tolist() == [[[1, 0, 0], [0, 0, 1], [0, 1, 0]]]


def test_symbols_become_learnt_vectors():
    """With `embedding_dim`, each symbol has a learned vector of that size."""
    encoder = InputEncoder(10, 4)
    vectors = encoder(torch.tensor([[7, 2, 7]]))
    assert vectors.shape == (1, 3, 4)
    assert encoder.out_features == 4
    assert torch.equal(vectors[0, 0], encoder.embedding.weight[7])
    assert torch.equal(vectors[0, 0], vectors[0, 2])


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (InputEncoder(3), r"in_features=3, embedding_dim=None\): the inputs have 5 features; set in_features=5"),
        (
            InputEncoder(5, 2),
            r"in_features=5, embedding_dim=2\): an embedding requires .* set embedding_dim=None",
        ),
    ],
)
def test_other_inputs(encoder, message):
    """Inputs of the wrong kind or width raise an error that names the argument to change."""
    with pytest.raises(ValueError, match=message):
        encoder(torch.zeros(2, 4, 5))
