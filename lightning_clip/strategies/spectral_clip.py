"""`SpectralClip`: limit the singular values of each weight's gradient."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_clip._checks import check_count, check_positive_finite
from lightning_clip._errors import ArgumentError
from lightning_clip.core.actions import Action
from lightning_clip.core.element_actions import Replace
from lightning_clip.core.globs import Globs
from lightning_clip.core.gradients import Gradients
from lightning_clip.core.strategy import ClipStrategy
from lightning_clip.functional.norms import is_plain
from lightning_clip.functional.reading import is_free_to_read
from lightning_clip.functional.scratch import CACHED
from lightning_clip.functional.sharded import part_of, whole_of


def soft_spectral_clip(matrix: Tensor, norm: Tensor, limit: Tensor | float, *, iterations: int = 16) -> Tensor:
    """Map each singular value s of each matrix to `s / sqrt(1 + s² / limit²)`, with matrix products alone.

    With c for the limit, $(I + GG^T / c^2)^{-1/2} G$ is c times the upper block of the orthogonal polar factor of the
    tall matrix $[G / c; I]$, whose singular values are at least 1. Newton-Schulz iterations find that factor. They
    never form the square of $GG^T$, so rounding errors stay near ε ‖G‖; an iteration for the inverse square root of $I
    + GG^T / c^2$ would have errors near ε ‖G‖² / c.

    Args:
        matrix: `(…, m, n)`, float32 or float64, real or complex.
        norm: The Frobenius norm of each matrix, `(…)`.
        limit: c, positive and finite: a number, or one for each matrix, `(…)`.
        iterations: Number of iterations. 12 are exact up to a Frobenius norm of 1e3 limits, 16 up to 1e5, 18 up to 1e6.
            Beyond that, small singular values come out too small; none comes out too large.

    Returns:
        `(…, m, n)`.
    """
    tall = matrix.mH if matrix.shape[-2] < matrix.shape[-1] else matrix
    absolute = tall.abs()
    largest = absolute.sum(-2).amax(-1).sqrt() * absolute.sum(-1).amax(-1).sqrt()
    bound = torch.minimum(norm.to(absolute.dtype), largest)[..., None, None]
    each = limit.to(bound)[..., None, None] if isinstance(limit, Tensor) else torch.full_like(bound, limit)
    bound = torch.hypot(bound, each) * (1 + 1e-6)
    eye = torch.eye(tall.shape[-1], dtype=tall.dtype, device=tall.device)
    lowest = each / bound
    stacked = torch.cat([tall / bound, lowest * eye], dim=-2)
    for _ in range(iterations):
        if _is_known_to_be_one(lowest):
            break
        # This scale makes the lowest singular value grow fastest, while none exceeds 1.
        square = 3 / (1 + lowest + lowest.square())
        factor = square.sqrt()
        stacked = stacked @ (1.5 * factor * eye - 0.5 * factor * square * (stacked.mH @ stacked))
        lowest = 0.5 * factor * lowest * (3 - square * lowest.square())
    clipped = each * stacked[..., : tall.shape[-2], :]
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
        limits = torch.full_like(grads.norms(), self.max_singular_value)
        excluded = [glob is not None for glob in self._excluded.of(grads)]
        values = spectrally_clipped(grads, limits, excluded, iterations=self.iterations, call="SpectralClip")
        return Replace(values, self.max_singular_value)


def spectrally_clipped(
    grads: Gradients, limits: Tensor, excluded: Sequence[bool], *, iterations: int, call: str
) -> list[Tensor | None]:
    """The gradients with their singular values bent below a limit each.

    Args:
        grads: The gradients; they are not changed.
        limits: The value that the singular values of each gradient approach as they grow, positive, `(n,)`.
        excluded: Which gradients to leave out.
        iterations: See `soft_spectral_clip`.
        call: The name of the strategy, quoted in errors.

    Returns:
        `n` new tensors; `None` for a gradient that is excluded or empty.

    Raises:
        ArgumentError: A gradient is sparse.
    """
    values: list[Tensor | None] = [None] * len(grads)
    alike: dict[object, list[int]] = {}
    for i, (name, tensor) in enumerate(zip(grads.names, grads.tensors, strict=True)):
        if not excluded[i] and tensor.numel():
            _check_dense(call, name, tensor)
            shape = tensor.shape if tensor.ndim > 1 else ()  # all others are vectors, whatever their length
            alike.setdefault((shape, tensor.dtype, tensor.device) if is_plain(tensor) else i, []).append(i)
    for members in alike.values():
        portion = max(1, CACHED // max(grads.params[i].numel() for i in members))  # what fits into the cache
        for start in range(0, len(members), portion):
            _clip(members[start : start + portion], grads, limits, values, iterations)
    return values


def _clip(members: list[int], grads: Gradients, limits: Tensor, values: list[Tensor | None], iterations: int) -> None:
    """Clip tensors of the same shape, or vectors, all at once; of a sharded one, keep the part of this process."""
    tensors, pair = [grads.tensors[i] for i in members], torch.stack([grads.norms(), limits.to(grads.norms())])
    if len(members) < len(grads):
        pair = torch.stack([pair[:, i] for i in members], dim=1)
    norms, limits = pair.to(tensors[0].device).unbind()
    if tensors[0].ndim < 2 and is_plain(tensors[0]):
        factors = torch.where(norms.isfinite(), 1 / torch.hypot(norms / limits, torch.ones_like(norms)), 1.0)
        for i, value in zip(members, torch._foreach_mul(tensors, list(factors.unbind())), strict=True):
            values[i] = value
        return
    whole = torch.stack([whole_of(tensor) for tensor in tensors])
    wide = whole.to(torch.promote_types(whole.dtype, torch.float32))
    if whole.ndim > 2:
        clipped = soft_spectral_clip(wide.flatten(2), norms, limits, iterations=iterations).view_as(whole)
    else:
        clipped = wide / torch.hypot(norms / limits, torch.ones_like(norms)).view(-1, *[1] * (wide.ndim - 1))
    finite = norms.isfinite().view(-1, *[1] * (whole.ndim - 1))
    for i, value in zip(members, torch.where(finite, clipped.to(whole.dtype), whole).unbind(), strict=True):
        values[i] = part_of(value, grads.tensors[i])


def _is_known_to_be_one(value: Tensor) -> bool:
    """Whether values are as close to 1 as their dtype allows; always `False` on an accelerator, which is not read."""
    return is_free_to_read(value) and bool(value.amin() >= 1 - 4 * torch.finfo(value.dtype).eps)


def _check_dense(call: str, name: str, tensor: Tensor) -> None:
    if tensor.layout is not torch.strided:
        raise ArgumentError(
            f"{call}(…): the gradient of {name!r} is sparse, but singular values need a dense matrix; "
            f"exclude the parameter, or use NormClip."
        )
