"""Training, from top to bottom: data, network, optimiser, loop, checkpoint.

Everything random in step t (patches, flips, random projection, hash rotations) is a function of the seed and t, so a
run that was killed goes on from its checkpoint and, on the CPU, ends with the same weights to the bit.
"""

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

import models
from sisr import inference
from sisr.checkpoint import Checkpoints, Progress
from sisr.config import Run
from sisr.errors import SisrError
from sisr.files import atomic_write, sha256
from sisr.provenance import peak_memory, provenance
from sisr.sampling import PatchSampler
from sisr.store import PairedStore

COLUMNS = ("step", "loss", "l1", "contrastive", "learning_rate", "seconds")
_LOG_LINES = 50  # rows of train.csv over a whole run
_REDRAW = 1  # keeps the seeds of projections apart from those of steps


def train(
    run: Run,
    output: Path,
    *,
    data: Path = Path("data/prepared"),
    device: str = "auto",
    threads: int | None = None,
    checkpoint_seconds: float = 60.0,
) -> dict[str, Any]:
    """Train one run and write `config.json`, `weights.safetensors`, `train.csv`, `provenance.json` into `output`.

    A checkpoint in `output` is gone on from; it is removed when the run is complete.

    Args:
        run: the resolved configuration.
        output: folder of the run.
        data: folder of the prepared sets, `<set>/hr` and `<set>/x<scale>` in it.
        device: `auto` (CUDA if there is any), `cpu`, `cuda` or `cuda:<index>`.
        threads: CPU threads; None leaves torch's choice.
        checkpoint_seconds: time between two checkpoints.

    Returns:
        The content of `provenance.json`.

    Raises:
        SisrError: data missing or too small, a checkpoint of another configuration, a loss that is not finite.
        SystemExit: with status 143, after SIGTERM and a last checkpoint.
    """
    if threads:
        torch.set_num_threads(threads)
    place = inference.device(device)
    settings, network = run.training, run.network

    torch.manual_seed(run.seed)
    model = create_network(run).to(place).train()
    if settings.channels_last:
        model = model.to(memory_format=torch.channels_last)

    sets = [PairedStore(data / name, network.scale) for name in run.train]
    sampler = PatchSampler(sets, patch=settings.patch, batch=settings.batch, seed=run.seed, device=place)

    optimizer = torch.optim.Adam(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=place.type == "cuda",
    )

    checkpoints = Checkpoints(output, run)
    state = checkpoints.restore(model, optimizer)
    forward = torch.compile(model) if settings.compile else model

    log_every = max(1, settings.steps // _LOG_LINES)
    sums = torch.tensor(state.sums, device=place, dtype=torch.float64)
    started, last_checkpoint = time.perf_counter() - state.seconds, time.perf_counter()
    bar = tqdm(
        total=settings.steps, initial=state.step, desc=run.id, unit="step", disable=not sys.stderr.isatty(), leave=False
    )
    with bar, _stop_requested() as stop:
        for step in range(state.step, settings.steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate_at(step)
            contrastive_on = settings.contrastive_weight > 0 and step >= settings.contrastive_start
            models.set_auxiliary_loss(model, contrastive_on)
            if settings.redraw_every and step and step % settings.redraw_every == 0:
                models.redraw(model, torch.Generator().manual_seed(_seed(run.seed, step, _REDRAW)))
            torch.manual_seed(_seed(run.seed, step))

            lr, hr = (pixels.float() / 255 for pixels in sampler(step))  # (batch, 3, patch, patch), (…, patch·scale, …)
            if settings.channels_last:
                lr = lr.contiguous(memory_format=torch.channels_last)
            with torch.autocast(place.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
                sr = forward(lr)
            l1 = F.l1_loss(sr.float(), hr)
            contrastive = models.auxiliary_loss(model) if contrastive_on else None
            loss = l1 if contrastive is None else l1 + settings.contrastive_weight * contrastive

            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

            with torch.no_grad():
                sums += torch.stack([loss, l1, torch.zeros_like(l1) if contrastive is None else contrastive]).double()
            bar.update()
            logging = (step + 1) % log_every == 0 or step + 1 == settings.steps
            saving = bool(stop) or time.perf_counter() - last_checkpoint > checkpoint_seconds
            if (logging or saving) and not torch.isfinite(sums).all():
                raise SisrError(
                    f"the loss is not finite at step {step + 1} (images of the batch: "
                    f"{', '.join(sampler.names(step))}); lower the learning rate or train in float32."
                )
            if logging:
                _log(state, step, sums, settings.learning_rate_at(step), time.perf_counter() - started)
                sums.zero_()
                _report(bar, state.rows[-1], settings.steps)
            if saving:
                state.step, state.seconds, state.sums = step + 1, time.perf_counter() - started, sums.tolist()
                checkpoints.save(model, optimizer, state)
                last_checkpoint = time.perf_counter()
            if stop:
                print(f"stopped at step {state.step}; the same command goes on from there.", file=sys.stderr)
                raise SystemExit(128 + signal.SIGTERM)
    seconds = time.perf_counter() - started

    models.set_auxiliary_loss(model, False)
    record = _finish(output, run, model, state, place, seconds)
    checkpoints.remove()
    return record


def create_network(run: Run) -> nn.Module:
    """The untrained network of a run."""
    network = run.network
    options: dict[str, Any] = {
        "blocks": network.blocks,
        "channels": network.channels,
        "residual_scale": network.residual_scale,
        "initialisation": network.initialisation,
        "attention": network.attention,
        "attention_options": network.attention_options,
        "slots": network.slots,
    }
    try:
        return models.create(network.name, scale=network.scale, **options)
    except (ValueError, TypeError) as error:
        raise SisrError(str(error)) from error


def _seed(*numbers: int) -> int:
    """One 63-bit seed from several numbers (FNV-1a over their digits: the same on every machine)."""
    value = 0xCBF29CE484222325
    for byte in ",".join(map(str, numbers)).encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value >> 1


def _log(state: Progress, step: int, sums: torch.Tensor, learning_rate: float, seconds: float) -> None:
    previous = int(state.rows[-1][0]) if state.rows else 0
    means = (sums / (step + 1 - previous)).tolist()
    state.rows.append([step + 1, *means, learning_rate, round(seconds, 3)])


def _report(bar: Any, row: list[float], steps: int) -> None:
    values = dict(zip(COLUMNS, row, strict=True))
    bar.set_postfix(loss=f"{values['loss']:.4f}", lr=f"{values['learning_rate']:.2g}")
    if bar.disable:
        print(
            f"step {values['step']:.0f} of {steps}: loss {values['loss']:.5f}, L1 {values['l1']:.5f}, contrastive "
            f"{values['contrastive']:.4f}, learning rate {values['learning_rate']:.3g}, {values['seconds']:.1f} s",
            flush=True,
        )


@contextmanager
def _stop_requested() -> Iterator[list[int]]:
    """A list that is empty until SIGTERM arrives (schedulers send it before they kill)."""
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = signal.signal(signal.SIGTERM, remember)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def _finish(
    output: Path, run: Run, model: nn.Module, state: Progress, device: torch.device, seconds: float
) -> dict[str, Any]:
    with atomic_write(output / "config.json") as temporary:
        temporary.write_text(json.dumps(run.as_dict(), indent=2) + "\n")
    with atomic_write(output / "train.csv") as temporary:
        pd.DataFrame(state.rows, columns=list(COLUMNS)).astype({"step": int}).to_csv(temporary, index=False)
    models.save(model, output / "weights.safetensors")
    record = {
        "run_id": run.id,
        "weights_sha256": sha256(output / "weights.safetensors"),
        "seed": run.seed,
        "wall_seconds": round(seconds, 3),
        "steps_per_second": round(run.training.steps / seconds, 3),
        "peak_memory_bytes": peak_memory(device),
        **provenance(device),
    }
    with atomic_write(output / "provenance.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
    return record
