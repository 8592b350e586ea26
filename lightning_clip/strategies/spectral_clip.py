"""`SpectralClip`: limit the singular values of each weight's gradient."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_clip._checks import check_count, check_positive_finite
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action, Replace
from lightning_clip.core.globs import Globs
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.reading import is_free_to_read
from lightning_clip.functional.sharded import part_of, whole_of


def soft_spectral_clip(matrix: Tensor, norm: Tensor, limit: float, *, iterations: int = 16) -> Tensor:
    """Map each singular value s of a matrix to `s / sqrt(1 + s² / limit²)`, with matrix products alone.

    With c for the limit, $(I + GG^T / c^2)^{-1/2} G$ is c times the upper block of the orthogonal polar factor of the
    tall matrix $[G / c; I]$, whose singular values are at least 1. Newton-Schulz iterations find that factor. They
    never form the square of $GG^T$, so rounding errors stay near ε ‖G‖; an iteration for the inverse square root of $I
    + GG^T / c^2$ would have errors near ε ‖G‖² / c.

    Args:
        matrix: `(m, n)`, float32 or float64, real or complex.
        norm: The Frobenius norm of the matrix, `()`.
        limit: c, positive and finite.
        iterations: Number of iterations. 12 are exact up to a Frobenius norm of 1e3 limits, 16 up to 1e5, 18 up to 1e6.
            Beyond that, small singular values come out too small; none comes out too large.

    Returns:
        `(m, n)`.
    """
    tall = matrix.mH if matrix.shape[0] < matrix.shape[1] else matrix
    absolute = tall.abs()
    bound = torch.minimum(norm.to(absolute.dtype), (absolute.sum(0).amax().sqrt() * absolute.sum(1).amax().sqrt()))
    bound = torch.hypot(bound, torch.full_like(bound, limit)) * (1 + 1e-6)
    eye = torch.eye(tall.shape[1], dtype=tall.dtype, device=tall.device)
    lowest = limit / bound
    stacked = torch.cat([tall / bound, lowest * eye])
    for _ in range(iterations):
        if _is_known_to_be_one(lowest):
            break
        # This scale makes the lowest singular value grow fastest, while none exceeds 1.
        square = 3 / (1 + lowest + lowest.square())
        factor = square.sqrt()
        stacked = stacked @ (1.5 * factor * eye - 0.5 * factor * square * (stacked.mH @ stacked))
        lowest = 0.5 * factor * lowest * (3 - square * lowest.square())
    clipped = limit * stacked[: tall.shape[0]]
    return clipped.mH if tall is not matrix else clipped


class SpectralClip(ClipStrategy):
    r"""Limit the singular values of the gradient of each weight smoothly.

    $$\hat G = U \, \mathrm{diag}\left(\frac{\sigma_i}{\sqrt{1 + \sigma_i^2 / c^2}}\right) V^T
    \quad\text{for}\quad G = U \, \mathrm{diag}(\sigma_i) \, V^T$$

    This cuts back one dominant direction without shrinking the others, which scaling the whole gradient cannot do.
    Weights with more than two dimensions are flattened to `(out, rest)`. Weights with at most one dimension have a
    single singular value, their norm. A NaN or infinite gradient is left unchanged.

    A step costs up to `4 · iterations · (m + n) · n²` operations for an `(m, n)` weight with `m ≥ n`, and as much
    memory as the gradients, so exclude large embeddings. The gradient of a sharded weight (FSDP2, tensor parallelism)
    is gathered on every process, one weight at a time, and each process does the same work. An accelerator always runs
    all iterations; the CPU stops when they no longer change anything. The result is as exact as matrix products are:
    about 1e-6 of the largest singular value in float32, and worse if TF32 is allowed.

    Args:
        max_singular_value: c, the value that a singular value approaches as it grows, in the unit of the loss gradient.
        iterations: Number of Newton-Schulz iterations. 12 are exact up to a Frobenius norm of 1e3 limits, 16 up to 1e5,
            18 up to 1e6. Beyond that, small singular values come out too small; none comes out too large.
        exclude: Globs over parameter names to leave unclipped.

    Raises:
        ArgumentTypeError: An argument has the wrong type, or `exclude` is a string instead of a list.
        ArgumentError: `max_singular_value` is not positive and finite, or `iterations` is below 1. At a step: a
            gradient is sparse, or a glob matches no parameter.

    Example:
        >>> SpectralClip(0.1)
        SpectralClip(max_singular_value=0.1, iterations=16, exclude=())

    References:
        Xiaowen Jiang, Andrei Semenov, Sebastian U. Stich, "Enhancing LLM Training via Spectral Clipping", 2026,
        https://arxiv.org/abs/2603.14315. The paper iterates for an inverse square root, 10 times in bfloat16.

        Jie Chen, Edmond Chow, "A Stable Scaling of Newton-Schulz for Improving the Sign Function Computation of a
        Hermitian Matrix", 2014, https://www.mcs.anl.gov/papers/P5059-0114.pdf, for the scaling.
    """

    def __init__(self, max_singular_value: float = 1.0, *, iterations: int = 16, exclude: Sequence[str] = ()) -> None:
        super().__init__()
        check_positive_finite("SpectralClip", max_singular_value=max_singular_value)
        check_count("SpectralClip", iterations=iterations)
        self.max_singular_value = max_singular_value
        self.iterations = iterations
        self._excluded = Globs(f"SpectralClip(exclude={exclude!r})", exclude, exclusive=False)
        self.exclude = tuple(exclude)

    def decide(self, grads: Gradients) -> Action:
        """Replace each gradient with its clipped version."""
        norms, excluded = grads.norms().unbind(), self._excluded.of(grads)
        values: list[Tensor | None] = [None] * len(grads)
        for i, (name, tensor) in enumerate(zip(grads.names, grads.tensors, strict=True)):
            if excluded[i] is None and tensor.numel():
                _check_dense(name, tensor)
                values[i] = part_of(self._clipped(whole_of(tensor), norms[i].to(tensor.device)), tensor)
        return Replace(values, self.max_singular_value)

    def _clipped(self, tensor: Tensor, norm: Tensor) -> Tensor:
        limit = self.max_singular_value
        wide = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
        if tensor.ndim > 1:
            value = soft_spectral_clip(wide.flatten(1), norm, limit, iterations=self.iterations).view_as(tensor)
        else:
            value = wide / torch.hypot(norm / limit, torch.ones_like(norm))
        return torch.where(norm.isfinite(), value.to(tensor.dtype), tensor)


def _is_known_to_be_one(value: Tensor) -> bool:
    """Whether a scalar is as close to 1 as its dtype allows; always `False` on an accelerator, which is not read."""
    return is_free_to_read(value) and bool(value >= 1 - 4 * torch.finfo(value.dtype).eps)


def _check_dense(name: str, tensor: Tensor) -> None:
    if tensor.layout is not torch.strided:
        raise ArgumentError(
            f"SpectralClip(…): the gradient of {name!r} is sparse, but singular values need a dense matrix; "
            f"exclude the parameter, or use NormClip."
        )
