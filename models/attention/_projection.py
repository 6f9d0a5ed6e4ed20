"""The random projection F of ENLA's feature map φ (Choromanski et al., "Rethinking Attention with Performers")."""

import torch
from torch import Tensor


def draw_projection(m: int, width: int, orthogonal: bool = True, generator: torch.Generator | None = None) -> Tensor:
    """m directions whose entries are N(0, 1): a float32 tensor (m, width) on the CPU.

    orthogonal: within blocks of `width` rows the directions are orthogonal, while each row alone is N(0, I) (a random
    rotation times lengths drawn from chi(width)). This lowers the variance of the estimate.
    The values depend on the CPU generator only (torch's global one if None): they are equal on all devices and ranks.
    """
    if not orthogonal:
        return torch.randn(m, width, generator=generator, device="cpu")
    blocks = -(-m // width)
    gaussian = torch.randn(blocks, width, width, generator=generator, device="cpu", dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]  # without the signs the rotation is not uniform
    rows = q.transpose(1, 2).flatten(0, 1)[:m]
    lengths = torch.randn(m, width, generator=generator, device="cpu", dtype=torch.float64).norm(dim=1, keepdim=True)
    return (rows * lengths).float()


def redraw_projection(projection: Tensor, orthogonal: bool, generator: torch.Generator | None) -> None:
    """New directions in place, (m, width): the same on every device for a CPU generator in the same state."""
    m, width = projection.shape
    new = draw_projection(m, width, orthogonal, generator)
    with torch.no_grad():
        projection.copy_(new)
