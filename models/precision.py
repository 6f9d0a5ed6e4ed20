"""Whether a device computes in bfloat16 natively. A CPU that does not emulates it and is slower than in float32."""

import torch

# oneDNN has fast bfloat16 products on CPUs with AVX-512-BF16 or AMX; elsewhere it converts every operand
CPU_BFLOAT16 = any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))


def native_bfloat16(device: torch.device) -> bool:
    """True where products in bfloat16 are not slower than in float32; GPUs are taken to be fast."""
    return device.type != "cpu" or CPU_BFLOAT16
