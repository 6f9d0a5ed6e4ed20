"""The paper's way of counting the operations of one mechanism (its Table 4).

Two operations a multiply-add; only the attention core: the embeddings that make query, key and value are not counted;
exp, division and normalisation are free. With N = 100·100 pixels, c = 64 channels of query and key and c_out = 64 of
the value this gives 0.66 GFLOP for 128 random features, which is what the paper prints, and 0.74 for the 3x3
convolution it is said to match. `c` and `c_out` are those of the mechanism that is measured.
"""

from typing import Any

_MOST_BUCKETS = 128
_OWN = "our own count, not the paper's: "


def gflops(name: str, c: int, c_out: int, N: int, options: dict[str, Any]) -> tuple[float | None, str]:
    """(GFLOP, formula) of a mechanism, or (None, why there is none).

    name: registered name. c, c_out: channels of query and key, and of the value. N: pixels of the feature map.
    options: the mechanism's options, defaults included (m; kernel; rounds and chunk).
    """
    where = f"c = {c}, c_out = {c_out}, N = {N}"
    match name:
        case "enla" | "enlca":
            m = options["m"]
            return 2 * (2 * m * N * c + 2 * m * N * c_out + m * N) / 1e9, f"2(2mNc + 2mNc_out + mN), m = {m}, {where}"
        case "nla":
            return 2 * (N * N * c + N * N * c_out) / 1e9, f"2(N²c + N²c_out), {where}"
        case "convolution":
            kernel = options.get("kernel", 3)
            return 2 * kernel**2 * c * c_out * N / 1e9, f"2·kernel²·c·c_out·N, kernel = {kernel}, {where}"
        case "nlsa":
            return _nlsa(c, c_out, N, options["rounds"], options["chunk"], where)
        case "top_k":
            keys = min(options["keys"], N)
            return 2 * (N * N * c + N * keys * c_out) / 1e9, f"{_OWN}2(N²c + N·keys·c_out), keys = {keys}, {where}"
        case "shifted_window":
            met = options["window"] ** 2  # of an image that windows fill up
            return 2 * N * met * (c + c_out) / 1e9, f"{_OWN}2N·window²(c + c_out), window² = {met}, {where}"
        case "channel":
            heads = options["heads"]
            products = N * c * c_out / heads
            formula = f"{_OWN}2(2N·c·c_out/heads + N·c_out²), heads = {heads}, {where}"
            return 2 * (2 * products + N * c_out * c_out) / 1e9, formula
    return None, f"the paper has no formula for {name}"


def _nlsa(c: int, c_out: int, N: int, rounds: int, chunk: int, where: str) -> tuple[float, str]:
    """Our own count: a pixel meets its chunk and both neighbours; hashing is a product with buckets/2."""
    buckets = min(N // chunk + N // chunk % 2, _MOST_BUCKETS)
    met = 3 * chunk if chunk < N else N
    attention, hashing = 2 * N * met * (c + c_out), 2 * N * c * max(buckets // 2, 1)
    formula = f"{_OWN}r(2N·3·chunk·(c + c_out) + 2Nc·buckets/2), r = {rounds}, chunk = {chunk}, "
    return rounds * (attention + hashing) / 1e9, formula + f"buckets = {buckets}, {where}"
