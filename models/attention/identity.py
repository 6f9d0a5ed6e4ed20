"""No attention: the identity, as a control and for the cost of a network without attention."""

from torch import Tensor, nn

from models.attention._registry import register


@register("none")
class NoAttention(nn.Module):
    """(B, channels, H, W) → the same tensor; it has no weights and no options."""

    no_map = "this mechanism has no attention"

    in_paper = True

    def __init__(self, channels: int = 64) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x

    def reference(self, x: Tensor) -> Tensor:
        return x
