"""Efficient non-local contrastive attention: ENLA with a large amplification factor and a contrastive loss.

"Efficient Non-Local Contrastive Attention for Image Super-Resolution" (AAAI 2022, arXiv 2201.03794).
"""

import torch
from torch import Tensor

from models.attention._registry import register
from models.attention.contrastive import Range, check_range, contrastive_loss, resolve_range
from models.attention.enla import ENLA


@register("enlca")
class ENLCA(ENLA):
    """(B, channels, H, W) → the same shape; in training it also has an auxiliary loss.

    Options (the others are in `ENLA` and `Attention`):
        relevant: ranks of the features to attract, (start, stop), as whole numbers or as fractions of N.
            Paper: n1 = 2 %, so (0, 0.02). Released code: (0, 15).
        irrelevant: ranks of the features to repel. Paper: from n2 = 8 % on, (0.08, 0.10). Released: (50, 65).
        margin: b of the loss (paper: 1).
        contrastive_rows: random queries of each step that the loss is computed over, None for all N. An unbiased
            estimate of the loss and of its gradient at `contrastive_rows` / N of the cost.
    """

    own_loss = True
    # relevant and irrelevant: shares of N in the paper (n1 = 2 %, from n2 = 8 %), ranks in the released code
    recipes = {
        "paper": {
            "k": 6.0,
            "m": 128,
            "orthogonal": True,
            "epsilon": 0.0,
            "embedding_kernel": 3,
            "margin": 1.0,
            "relevant": [0.0, 0.02],
            "irrelevant": [0.08, 0.10],
        },
        "released": {
            "k": 6.0,
            "m": 128,
            "orthogonal": True,
            "epsilon": 1e-4,
            "embedding_kernel": 1,
            "margin": 1.0,
            "relevant": [0, 15],
            "irrelevant": [50, 65],
        },
    }

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
        contrastive_rows: int | None = None,
        reduction: int = 4,
        residual_scale: float = 0.1,
        embedding_kernel: int = 1,
        normalise_eps: float = 5e-5,
        fused: bool = False,
        features: str = "positive",
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
            features=features,
        )
        self.relevant = check_range("relevant", relevant)
        self.irrelevant = check_range("irrelevant", irrelevant)
        self.margin = float(margin)
        if contrastive_rows is not None and contrastive_rows < 1:
            raise ValueError(f"contrastive_rows must be at least 1, or None for all queries, not {contrastive_rows}")
        self.contrastive_rows = contrastive_rows

    def check_tokens(self, tokens: int) -> None:
        for name, ranks in (("relevant", self.relevant), ("irrelevant", self.irrelevant)):
            resolve_range(name, ranks, tokens)

    def auxiliary_loss(self, query: Tensor, key: Tensor) -> Tensor:
        if self.contrastive_rows is not None and self.contrastive_rows < query.shape[1]:
            # drawn on the CPU: the same rows on every device
            rows = torch.randperm(query.shape[1])[: self.contrastive_rows].to(query.device)
            query = query.index_select(1, rows)
        return contrastive_loss(query, key, self.relevant, self.irrelevant, self.margin)
