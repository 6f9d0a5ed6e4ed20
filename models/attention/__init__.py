"""Attention mechanisms for super-resolution, one a file, each a module from (B, C, H, W) to (B, C, H, W).

attention.available()                                  # names
attention.create("enlca", channels=64, k=6, m=128)     # a registered one
attention.create("my_attention.py:MyAttention")        # a custom one
"""

from models.attention import (  # noqa: F401  (import registers the mechanism)
    adaptive_enla,
    agent,
    channel,
    convolution,
    criss_cross,
    efficient,
    enla,
    enlca,
    focused_linear,
    global_learnable,
    identity,
    linear,
    linear_response,
    mean_pooling,
    nla,
    nlsa,
    nystrom,
    pyramid,
    shifted_window,
    top_k,
)
from models.attention._base import Attention
from models.attention._maps import softmax_rows
from models.attention._registry import available, create, register
from models.attention.contrastive import contrastive_loss

__all__ = ["Attention", "available", "contrastive_loss", "create", "register", "softmax_rows"]
