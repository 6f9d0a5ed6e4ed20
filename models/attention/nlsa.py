"""Non-local sparse attention (Mei, Fan, Zhou: "Image Super-Resolution with Non-Local Sparse Attention", CVPR 2021).

Spherical locality-sensitive hashing sorts the pixels into buckets of similar direction; each pixel attends to its own
chunk of the sorted list and to both neighbouring chunks. Several rounds of hashing are averaged, weighted by the
softmax of each round's log-sum-exp. Follows the released code, except that
- the random rotations are fixed outside training, so that a test can be repeated (the released code draws them anew);
- images with fewer pixels than one chunk work: they form a single chunk.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from models.attention._base import Attention
from models.attention._registry import register

MOST_BUCKETS = 128  # released code
# products of queries and keys in one block: 2 MB of logits on a CPU, which fit its cache, 256 MB on a GPU
CPU_BLOCK, GPU_BLOCK = 1 << 19, 1 << 26


@register("nlsa")
class NLSA(Attention):
    """(B, channels, H, W) → the same shape.

    Options (the others are in `Attention`):
        rounds: number of independent hashings that are averaged.
        chunk: pixels in a chunk of the sorted list.
    """

    rotations: Tensor

    random_projection = False
    own_loss = False
    no_onnx = "it sorts pixels into chunks, whose number depends on the image size"
    in_paper = True
    paper = "Mei et al., CVPR 2021"
    recipes = {"paper": {"rounds": 4, "chunk": 144}, "released": {"rounds": 4, "chunk": 144}}

    def __init__(
        self,
        channels: int = 64,
        *,
        rounds: int = 4,
        chunk: int = 144,
        reduction: int = 4,
        residual_scale: float = 0.1,
        embedding_kernel: int = 3,
        normalise_eps: float = 5e-5,
    ) -> None:
        super().__init__(
            channels,
            reduction=reduction,
            residual_scale=residual_scale,
            embedding_kernel=embedding_kernel,
            normalise_eps=normalise_eps,
            shared=True,
            value_kernel=1,
        )
        if rounds < 1:
            raise ValueError(f"rounds must be at least 1, not {rounds}")
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1 pixel, not {chunk}")
        self.rounds = rounds
        self.chunk = chunk
        shape = (channels // reduction, rounds, MOST_BUCKETS // 2)
        fixed = torch.randn(shape, generator=torch.Generator().manual_seed(0), device="cpu")
        self.register_buffer("rotations", fixed, persistent=False)

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One embedding is both query, as it is, and key, normalised."""
        query, _, value = super().embed(x)
        return query, self._unit(query), value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """Query and key of a pixel must have the same direction, since they share one hash code."""
        key, learned = self._scores(query, key)
        order = self.hash_codes(query).argsort(dim=-1, stable=True)  # (B, rounds, N)
        lean = not (torch.is_grad_enabled() or torch.compiler.is_compiling())
        out, evidence = value.new_empty(0), value.new_empty(0)
        for part in order.split(1 if lean else self.rounds, dim=1):  # without gradients one round after the other
            more, more_evidence = self._rounds(query, key, value, learned, part, lean)
            if out.numel():
                more, more_evidence = torch.cat([out, more], 1), torch.cat([evidence, more_evidence], 1)
            weights = torch.softmax(more_evidence, dim=1).to(more.dtype)
            out = (more * weights).sum(dim=1, keepdim=True)  # (B, 1, N, Cv)
            evidence = torch.logsumexp(more_evidence, dim=1, keepdim=True)
        return out.squeeze(1)

    def _scores(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor | None]:
        """The key (B, N, C), and what is added to its scores for each place of a query in its chunk (B, N, chunk)."""
        return key, None

    def _unit(self, query: Tensor) -> Tensor:
        """(B, N, C) → the same, of length 1; the norm is taken in float32 or better."""
        precise = query.float() if query.dtype in (torch.bfloat16, torch.float16) else query
        norm = torch.linalg.vector_norm(precise, dim=-1, keepdim=True).clamp_min(self.normalise_eps)
        return (precise / norm).to(query.dtype)

    def _rounds(
        self, query: Tensor, key: Tensor, value: Tensor, learned: Tensor | None, order: Tensor, lean: bool
    ) -> tuple[Tensor, Tensor]:
        """Outputs (B, rounds, N, Cv) and their log-sum-exp (B, rounds, N, 1) for the orders (B, rounds, N)."""
        N = order.shape[-1]
        chunk = min(self.chunk, N)
        # inverse permutation; scatter needs one pass, a second argsort would be slower
        undo = torch.empty_like(order).scatter_(-1, order, torch.arange(N, device=order.device).expand_as(order))
        padded = torch.cat(
            [order, order[..., N - (-N % chunk) :]], dim=-1
        )  # repeats the last pixels, as in the released code
        queries = _gather(query, padded).unflatten(2, (-1, chunk))  # (B, rounds, chunks, chunk, C)
        keys = _with_neighbours(_gather(key, padded), chunk)  # (B, rounds, chunks, C, 3·chunk)
        values = _with_neighbours(_gather(value, padded), chunk).transpose(-1, -2)
        # (B, rounds, chunks, chunk, 3·chunk), as the scores
        more = None if learned is None else _with_neighbours(_gather(learned, padded), chunk)
        attention = _chunk_attention if lean else _ChunkAttention.apply
        out, evidence = attention(queries, keys, values, more)
        return _put_back(out, undo), _put_back(evidence, undo)

    def _buckets(self, tokens: int) -> int:
        """As many as chunks, made even."""
        return min(tokens // self.chunk + tokens // self.chunk % 2, MOST_BUCKETS)

    def hash_codes(self, query: Tensor) -> Tensor:
        """(B, N, C) → bucket numbers (B, rounds, N): the index of the nearest of ± random directions."""
        N, C = query.shape[1:]
        buckets = self._buckets(N)
        half = max(buckets // 2, 1)
        if self.training:
            rotations = torch.randn(C, self.rounds, half, device=query.device, dtype=query.dtype)
        else:
            rotations = self.rotations[..., :half].to(query.dtype)
        rotated = (query.detach() @ rotations.flatten(1)).unflatten(2, (self.rounds, half))
        return torch.cat([rotated, -rotated], dim=-1).argmax(dim=-1).transpose(1, 2)

    def paper_flops(self, tokens: int, channels: int, out_channels: int) -> tuple[float, str]:
        """By the paper's convention (see `Attention`); the formula is this suite's."""
        buckets = self._buckets(tokens)
        met = 3 * self.chunk if self.chunk < tokens else tokens  # a pixel meets its chunk and both neighbours
        attention = 2 * tokens * met * (channels + out_channels)
        hashing = 2 * tokens * channels * max(buckets // 2, 1)  # a product with buckets/2 directions
        formula = "our own count, not the paper's: r(2N·3·chunk·(c + c_out) + 2Nc·buckets/2)"
        options = f"r = {self.rounds}, chunk = {self.chunk}, buckets = {buckets}"
        return self.rounds * (attention + hashing), f"{formula}, {options}"

    def reference(self, query: Tensor, key: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
        """The same, one image, one round and one chunk after the other."""
        key, learned = self._scores(query, key)
        B, N, _ = query.shape
        chunk = min(self.chunk, N)
        codes = self.hash_codes(query)
        images = []
        for b in range(B):
            outs, evidences = [], []
            for r in range(self.rounds):
                order = codes[b, r].argsort(stable=True)
                order = torch.cat([order, order[N - (-N % chunk) :]])
                chunks = order.split(chunk)
                out, evidence = [], []
                for i, centre in enumerate(chunks):
                    seen = torch.cat([centre, chunks[i - 1], chunks[(i + 1) % len(chunks)]])
                    logits = query[b, centre] @ key[b, seen].t()
                    if learned is not None:
                        logits = logits + learned[b, seen].t()
                    out.append(torch.softmax(logits, dim=1) @ value[b, seen])
                    evidence.append(torch.logsumexp(logits, dim=1))
                undo = order[:N].argsort()  # without the repeated last pixels
                outs.append(torch.cat(out)[:N][undo])
                evidences.append(torch.cat(evidence)[:N][undo])
            weights = torch.softmax(torch.stack(evidences), dim=0)  # (rounds, N)
            images.append((weights[..., None] * torch.stack(outs)).sum(0))
        return torch.stack(images)

    def weights_of(self, query: Tensor, key: Tensor, size: tuple[int, int], positions: Sequence[int]) -> Tensor:
        """All rounds together, weighted as in the output; 0 outside of the chunks that a position attends to."""
        key, learned = self._scores(query, key)
        B, N, _ = query.shape
        chunk = min(self.chunk, N)
        precise = torch.promote_types(query.dtype, torch.float32)
        order = self.hash_codes(query).argsort(dim=-1, stable=True)  # (B, rounds, N)
        padded = torch.cat([order, order[..., N - (-N % chunk) :]], dim=-1).unflatten(-1, (-1, chunk))
        chunks = padded.shape[2]
        result = query.new_zeros(B, len(positions), N, dtype=precise)
        for b in range(B):
            for number, position in enumerate(positions):
                evidences, seen, weights = [], [], []
                for r in range(self.rounds):
                    centre, at = divmod(int((order[b, r] == position).nonzero()), chunk)
                    around = [centre] if chunks == 1 else [centre - 1, centre, (centre + 1) % chunks]
                    seen.append(padded[b, r, around].flatten())
                    logits = key[b, seen[-1]].to(precise) @ query[b, position].to(precise)
                    if learned is not None:
                        logits = logits + learned[b, seen[-1], at]
                    weights.append(torch.softmax(logits, dim=0))
                    evidences.append(torch.logsumexp(logits, dim=0))
                shares = torch.softmax(torch.stack(evidences), dim=0)
                for r in range(self.rounds):
                    # the weights of a pixel that occurs twice are added
                    result[b, number].index_add_(0, seen[r], shares[r] * weights[r])
        return result


def _gather(x: Tensor, order: Tensor) -> Tensor:
    """x (B, N, C), order (B, rounds, M) → (B, rounds, M, C)."""
    rounds, M = order.shape[1:]
    return x.gather(1, order.flatten(1)[..., None].expand(-1, -1, x.shape[-1])).unflatten(1, (rounds, M))


def _with_neighbours(x: Tensor, chunk: int) -> Tensor:
    """(B, rounds, M, C) → (B, rounds, chunks, C, 3·chunk): previous, own and next chunk, in a ring; a view."""
    if x.shape[2] == chunk:
        return x.transpose(-1, -2)[:, :, None]  # a single chunk needs no neighbours: copies would not change the result
    ring = torch.cat([x[:, :, -chunk:], x, x[:, :, :chunk]], dim=2)
    return ring.unfold(2, 3 * chunk, chunk)


def _chunk_attention(queries: Tensor, keys: Tensor, values: Tensor, learned: Tensor | None) -> tuple[Tensor, Tensor]:
    """Softmax attention of each chunk to its surroundings, and the log-sum-exp of its logits, block by block.

    queries (B, rounds, chunks, chunk, C), keys (…, C, 3·chunk), values (…, 3·chunk, Cv), learned, added to the logits
    (…, chunk, 3·chunk) → (…, chunk, Cv) and (…, chunk, 1).
    """
    precise = torch.promote_types(queries.dtype, torch.float32)
    out = values.new_empty(*queries.shape[:-1], values.shape[-1])
    evidence = queries.new_empty(*queries.shape[:-1], 1, dtype=precise)
    for part in _blocks(queries, keys):
        logits = _logits(queries, keys, learned, part, precise)
        weights = torch.softmax(logits, dim=-1)
        # log of the sum, from the largest weight exp(largest − log-sum-exp) instead of a second pass of exponentials
        evidence[part] = logits.amax(-1, keepdim=True) - torch.log(weights.amax(-1, keepdim=True))
        out[part] = weights.to(values.dtype) @ values[part]
    return out, evidence


class _ChunkAttention(torch.autograd.Function):
    """`_chunk_attention`, whose backward pass computes the weights again, block by block, instead of keeping them."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, learned: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        out, evidence = _chunk_attention(queries, keys, values, learned)
        ctx.save_for_backward(queries, keys, values, learned, out, evidence)
        return out, evidence

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_out: Tensor, of_evidence: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        queries, keys, values, learned, out, evidence = ctx.saved_tensors
        of_queries, of_keys, of_values = (x.new_empty(x.shape) for x in (queries, keys, values))
        of_learned = None if learned is None else learned.new_empty(learned.shape)
        # softmax's own term, less the gradient of log-sum-exp, which is the weights
        share = (of_out * out).sum(-1, keepdim=True, dtype=evidence.dtype) - of_evidence
        for part in _blocks(queries, keys):
            logits = _logits(queries, keys, learned, part, evidence.dtype)
            weights = logits.sub_(evidence[part]).exp_()
            of_logits = (of_out[part] @ values[part].transpose(-1, -2)).to(evidence.dtype)
            of_logits = of_logits.sub_(share[part]).mul_(weights).to(queries.dtype)
            of_values[part] = weights.transpose(-1, -2).to(of_out.dtype) @ of_out[part]
            of_queries[part] = of_logits @ keys[part].transpose(-1, -2)
            of_keys[part] = queries[part].transpose(-1, -2) @ of_logits
            if of_learned is not None:
                of_learned[part] = of_logits
        return of_queries, of_keys, of_values, of_learned


def _logits(
    queries: Tensor, keys: Tensor, learned: Tensor | None, part: tuple[int | slice, ...], dtype: torch.dtype
) -> Tensor:
    """Scores of one block, in a tensor of their own."""
    logits = (queries[part] @ keys[part]).to(dtype)
    return logits if learned is None else logits.add_(learned[part])


def _blocks(queries: Tensor, keys: Tensor) -> Iterator[tuple[int | slice, ...]]:
    """Indices of the parts of (B, rounds, chunks, …) that are computed together: all, or some chunks of one round."""
    B, rounds, chunks, chunk, _ = queries.shape
    products = chunk * keys.shape[-1]
    block = GPU_BLOCK if queries.is_cuda else CPU_BLOCK
    if B * rounds * chunks * products <= block:
        yield (slice(None),)
        return
    together = max(1, block // products)
    for image, number, start in product(range(B), range(rounds), range(0, chunks, together)):
        yield image, number, slice(start, start + together)


def _put_back(x: Tensor, undo: Tensor) -> Tensor:
    """Chunks (B, rounds, chunks, chunk, C) in sorted order → (B, rounds, N, C) in the image's order."""
    x = x.flatten(2, 3)
    return x.gather(2, undo[..., None].expand(*undo.shape, x.shape[-1]))
