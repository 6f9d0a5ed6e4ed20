"""Networks and attention mechanisms. Imports torch, timm and safetensors, but not `sisr`.

model = models.create("enlcn", scale=4)        # or timm.create_model("enlcn", scale=4)
sr = model(lr)                                 # (B, 3, H, W) RGB in [0, 1] → (B, 3, 4H, 4W)
models.save(model, "weights.safetensors")
model = models.load("weights.safetensors")     # or the authors' ENLCAx4.pt
"""

from models import (  # noqa: F401  (import registers the networks)
    attention,
    dbpn,
    edsr,
    lapsrn,
    rcan,
    rdn,
    rnan,
    san,
    srmdnf,
    vdsr,
)
from models.attention._switches import auxiliary_loss, redraw, set_auxiliary_loss
from models.registry import available, create, register
from models.warm_start import Started, start_from
from models.weights import load, save

__all__ = [
    "Started",
    "attention",
    "auxiliary_loss",
    "available",
    "create",
    "load",
    "redraw",
    "register",
    "save",
    "set_auxiliary_loss",
    "start_from",
]
