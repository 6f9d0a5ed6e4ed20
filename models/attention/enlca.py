"""Efficient non-local contrastive attention: ENLA with a large amplification factor, and the loss that sharpens it.

"Efficient Non-Local Contrastive Attention for Image Super-Resolution" (AAAI 2022, arXiv 2201.03794).
"""

from torch import Tensor

from models.attention._registry import register
from models.attention.contrastive import Range, check_range, contrastive_loss
from models.attention.enla import ENLA


@register("enlca")
class ENLCA(ENLA):
    """(B, channels, H, W) → the same shape; in training it also has an auxiliary loss.

    Options (the others are in `ENLA` and `Attention`):
        relevant: ranks of the features to be drawn nearer, (start, stop), as whole numbers or as fractions of N.
            Paper: n1 = 2 %, so (0, 0.02). Released code: (0, 15).
        irrelevant: ranks of those to be pushed away. Paper: from n2 = 8 % on, (0.08, 0.10). Released: (50, 65).
        margin: b of the loss (paper: 1).
    """

    def __init__(
        self,
        channels: int = 64,
        *,
        k: float = 6.0,
        m: int = 128,
        orthogonal: bool = True,
        epsilon: float = 1e-4,
        relevant: Range = (0, 0.02),
        irrelevant: Range = (0.08, 0.10),
        margin: float = 1.0,
        reduction: int = 4,
        residual_scale: float = 0.1,
        embedding_kernel: int = 1,
        normalise_eps: float = 5e-5,
        fused: bool = False,
    ) -> None:
        super().__init__(
            channels,
            k=k,
            m=m,
            orthogonal=orthogonal,
            epsilon=epsilon,
            reduction=reduction,
            residual_scale=residual_scale,
            embedding_kernel=embedding_kernel,
            normalise_eps=normalise_eps,
            fused=fused,
        )
        self.relevant = check_range("relevant", relevant)
        self.irrelevant = check_range("irrelevant", irrelevant)
        self.margin = float(margin)

    def auxiliary_loss(self, query: Tensor, key: Tensor) -> Tensor:
        return contrastive_loss(query, key, self.relevant, self.irrelevant, self.margin)
