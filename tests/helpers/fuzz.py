"""Property-based tests over malformed input: how many cases, and what bytes become."""

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FACTOR = float(os.environ.get("SISR_FUZZ", "1"))
"""Number of cases in multiples of the usual one."""


def cases(number: int, deadline: int | None = 20_000) -> Any:
    """Decorator: so many cases times `SISR_FUZZ`; each may take `deadline` milliseconds."""
    examples = max(1, round(number * FACTOR))
    return settings(max_examples=examples, deadline=deadline, suppress_health_check=list(HealthCheck))


@st.composite
def damaged(draw: Any, whole: bytes) -> bytes:
    """Bytes with one to three faults: cut, overwritten, with a part removed, repeated or zeroed."""
    content = bytearray(whole)
    # faults in the first and last bytes hit headers and directories
    for _ in range(draw(st.integers(1, 3))):
        size = len(content)
        anywhere = st.integers(0, max(size - 1, 0))
        edges = st.integers(0, min(size - 1, 600)) | st.integers(max(size - 600, 0), size - 1) if size else anywhere
        at = draw(anywhere | edges)
        length = draw(st.integers(1, 64))
        match draw(st.sampled_from(["cut", "overwrite", "remove", "repeat", "zero"])):
            case "cut":
                del content[at:]
            case "overwrite":
                content[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "remove":
                del content[at : at + length]
            case "repeat":
                content[at:at] = content[at : at + length]
            case "zero":
                content[at : at + length] = bytes(min(length, size - at))
    return bytes(content)
