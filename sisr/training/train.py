"""Training, from top to bottom: data, network, optimiser, loop, checkpoint.

Everything random in step t (patches, flips, random projection, hash rotations) is a function of the seed and t, so a
run that was killed resumes from its checkpoint and, on the CPU, ends with bit-identical weights. Started by
torchrun, several processes share each batch of the same run (`sisr.training.distributed`).
"""

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import models
from models.colour import to_ycbcr
from sisr.config.layout import RUN_FILES
from sisr.config.mechanisms import source
from sisr.config.run import Run
from sisr.data.patches import PatchSampler
from sisr.data.store import PairedStore
from sisr.training import distributed
from sisr.training.checkpoint import Progress
from sisr.training.divergence import Diverged
from sisr.training.monitor import COLUMNS, Validation
from sisr.training.observer import Observer
from sisr.training.warm_start import check_start, in_words, record_of, warm_start
from sisr.utils.errors import SisrError
from sisr.utils.files import atomic_write, check_writable, read_run_json, sha256
from sisr.utils.precision import autocast, computed_precision
from sisr.utils.provenance import git_state, peak_memory, provenance

_REDRAW = 1  # keeps the seeds of projections apart from those of steps


def train(
    run: Run,
    output: Path,
    *,
    start: Path | None = None,
    data: Path = Path("data/prepared"),
    device: str = "auto",
    threads: int | None = None,
    checkpoint_seconds: float = 60.0,
    validate: Sequence[str] = (),
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Train one run and write `config.json`, `weights.safetensors`, `train.csv`, `provenance.json` into `output`.

    Training resumes from a checkpoint in `output`, which is removed when the run is complete. A folder that holds the
    complete run already is left as it is. A loss that is not
    finite, or that explodes, sends the run back to its last checkpoint once; the second time `diverged.json` names the
    step and the images of its batch.

    Args:
        run: the resolved configuration.
        output: folder of the run.
        start: folder of the finished run, or weights file, that `training.start_from` names.
        data: folder of the prepared sets, `<set>/hr` and `<set>/x<scale>` in it.
        device: `auto` (CUDA if there is any), `cpu`, `cuda` or `cuda:<index>`.
        threads: CPU threads; None leaves torch's choice.
        checkpoint_seconds: time between two checkpoints.
        validate: sets whose first images are upscaled now and then, to show their PSNR; nothing depends on it. One
            that is not prepared is left out.
        tensorboard: also write event files into `output/tensorboard`.

    Returns:
        The content of `provenance.json`.

    Raises:
        SisrError: data missing or too small, weights to start from that are missing or are not the named ones, a
            run or checkpoint of another configuration in `output`, which cannot be written, a loss that diverges twice.
        SystemExit: with status 143, after SIGTERM and a last checkpoint.
    """
    if threads:
        torch.set_num_threads(threads)
    check_start(run, start)
    if record := completed(run, output):
        print(f"{output} holds this run already; it is complete.", file=sys.stderr)
        return record
    check_writable(output, folder=True)
    with distributed.join(device) as (group, where), _stop_requested() as stop:
        for last_try in (False, True):
            try:
                return _train(
                    run, output, start, data, group, where, stop, checkpoint_seconds, validate, tensorboard=tensorboard
                )
            except Diverged as failure:
                if group.leads:
                    failure.record(output)
                if last_try:
                    raise SisrError(
                        f"{failure} It did so again after going back to the last checkpoint; "
                        f"{output / 'diverged.json'} tells more. Lower the learning rate or train in float32."
                    ) from failure
                if group.leads:
                    print(f"{failure} Going back to the last checkpoint, once.", file=sys.stderr)
    raise AssertionError("unreachable")


def _train(
    run: Run,
    output: Path,
    start: Path | None,
    data: Path,
    group: distributed.Group,
    device: torch.device,
    stop: list[int],
    checkpoint_seconds: float,
    validate: Sequence[str],
    *,
    tensorboard: bool,
) -> dict[str, Any]:
    settings, scale = run.training, run.network.scale
    git_state()  # now: the checkout may move on during a long training
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = settings.tf32
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format

    # network: the same on every process, since the seed is
    torch.manual_seed(run.seed)
    model = create_network(run)
    started = warm_start(model, start) if start else None
    if start and started and group.leads:
        print(in_words(start, started), file=sys.stderr)
    model = model.to(device).train().to(memory_format=layout)
    code = own_code(run)

    # data: each process cuts its own part of the batch
    sets = [PairedStore(data / name, scale) for name in run.train]
    sampler = PatchSampler(
        sets, patch=settings.patch, batch=settings.batch, seed=run.seed, device=device, quiet=not group.leads
    )
    parts = group.parts(settings.batch, settings.accumulate)

    # optimiser; the moving average starts with a warm-up, so that it forgets the first weights even in a short run
    optimizer = torch.optim.Adam(
        _parameter_groups(model, started, settings.inserted_rate),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=device.type in ("cpu", "cuda"),
    )
    ema = None
    if settings.ema_decay:
        from timm.utils import ModelEmaV3  # importing timm takes longer than importing torch

        ema = ModelEmaV3(model, settings.ema_decay, use_warmup=True, exclude_buffers=True)

    observer = Observer(
        run,
        output,
        group,
        model=model,
        ema=ema.module if ema else None,
        optimizer=optimizer,
        sampler=sampler,
        validation=Validation.of(validate, data, scale, quiet=not group.leads),
        stop=stop,
        checkpoint_seconds=checkpoint_seconds,
        tensorboard=tensorboard,
    )
    network = getattr(model, "outputs", model)  # several outputs, where the network is trained on all of them
    forward = network
    if settings.compile:
        forward = _compiled(network, model, run, len(range(*parts[0].indices(settings.batch))), device)

    with observer:
        for step in range(observer.state.step, settings.steps):
            for parameters in optimizer.param_groups:
                parameters["lr"] = settings.learning_rate_at(step) * parameters.get("rate", 1.0)
            contrastive_on = settings.contrastive_weight > 0 and step >= settings.contrastive_start
            models.set_auxiliary_loss(model, contrastive_on)
            if settings.redraw_every and step and step % settings.redraw_every == 0:
                models.redraw(model, torch.Generator().manual_seed(_seed(run.seed, step, _REDRAW)))

            optimizer.zero_grad(set_to_none=True)
            losses = torch.zeros(3, device=device)  # total, L1, contrastive
            for part in parts:
                torch.manual_seed(_seed(run.seed, step))  # every part of the batch draws the same random numbers
                # (part, 3, patch, patch), (part, 3, patch·scale, patch·scale)
                lr, hr = (pixels.float() / 255 for pixels in sampler(step, part))
                with autocast(settings.precision, device):
                    sr = forward(lr.contiguous(memory_format=layout))
                l1 = _l1(sr, hr)
                contrastive = models.auxiliary_loss(model) if contrastive_on else None
                loss = l1 if contrastive is None else l1 + settings.contrastive_weight * contrastive
                (loss / len(parts)).backward()
                with torch.no_grad():
                    values = [loss, l1, torch.zeros_like(l1) if contrastive is None else contrastive]
                    losses += torch.stack(values).float() / len(parts)
            group.average_gradients(model.parameters())
            optimizer.step()
            if ema:
                ema.update(model, step + 1)

            observer.after_step(step, losses)  # curve, validation, divergence, checkpoint, request to stop

    seconds = observer.seconds()
    record: dict[str, Any] = {
        **code,
        "seed": run.seed,
        "wall_seconds": round(seconds, 3),
        "steps_per_second": round(settings.steps / seconds, 3),
        "peak_memory_bytes": peak_memory(device),
        "processes": group.size,
        "images_too_small": sampler.left_out,
        **record_of(run, start, started),
        "compiled": forward is not network,
        "computed_in": computed_precision(settings.precision, device),
        "optimizer": "fused Adam" if device.type in ("cpu", "cuda") else "Adam",
        **provenance(device),
    }
    if group.leads:
        try:
            record = _finish(output, run, observer.final, observer.state, record)
        except OSError as error:
            raise SisrError(
                f"the finished run cannot be written to {output} ({error.strerror or error}); "
                "free some space and rerun the command to resume from the last checkpoint."
            ) from error
        observer.checkpoints.remove()
    return record


def completed(run: Run, output: Path) -> dict[str, Any] | None:
    """Provenance of this run if `output` holds it complete, else None.

    Raises SisrError where it holds a run of another configuration, or of another version of the custom attention.
    """
    if not (output / "config.json").is_file():
        return None
    if Run.from_dict(read_run_json(output / "config.json")) != run:
        raise SisrError(f"{output} holds a run of another configuration; choose another --output or delete it.")
    if not all((output / name).is_file() for name in RUN_FILES):
        return None
    record = read_run_json(output / "provenance.json")
    code = own_code(run)
    for kind in ("attention", "network"):
        if record.get(f"{kind}_sha256") != code.get(f"{kind}_sha256"):
            name = run.network.attention if kind == "attention" else run.network.name
            raise SisrError(
                f"{output} was trained with another version of {record.get(f'{kind}_file', name)}; "
                "choose another --output or delete it."
            )
    return record


def own_code(run: Run) -> dict[str, str]:
    """File and SHA-256 of an attention or network from a file or module of the user's; nothing for registered ones."""
    record: dict[str, str] = {}
    for kind, name in (("attention", run.network.attention), ("network", run.network.name)):
        if file := source(name):
            record |= {f"{kind}_file": str(file), f"{kind}_sha256": sha256(file)}
    return record


def create_network(run: Run) -> nn.Module:
    """The untrained network of a run."""
    try:
        return models.create(run.network.name, scale=run.network.scale, **run.network.options())
    except (ValueError, TypeError) as error:
        raise SisrError(str(error)) from error


def _parameter_groups(model: nn.Module, started: models.Started | None, rate: float) -> list[dict[str, Any]]:
    """Adam's groups: one, or the weights that were taken from a trained network, and the new ones with their rate."""
    if started is None or rate == 1:
        return [{"params": list(model.parameters())}]
    new = set(started.new)
    groups: dict[float, list[nn.Parameter]] = {1.0: [], rate: []}
    for name, parameter in model.named_parameters():
        groups[rate if name in new else 1.0].append(parameter)
    return [{"params": parameters, "rate": factor} for factor, parameters in groups.items() if parameters]


def _l1(sr: Tensor | Sequence[Tensor], hr: Tensor) -> Tensor:
    """Mean absolute error; of several outputs, the mean of theirs. Outputs of one channel are compared with luma."""
    if isinstance(sr, Tensor):
        return F.l1_loss(sr.float(), hr)
    losses = [F.l1_loss(each.float(), hr if each.shape[1] == 3 else to_ycbcr(hr)[:, :1]) for each in sr]
    return torch.stack(losses).mean()


def _compiled(network: Any, model: nn.Module, run: Run, batch: int, device: torch.device) -> Any:
    """`network` (the model or its `outputs`) compiled and tried on a batch of zeros; itself where no compiler works."""
    settings = run.training
    compiled = torch.compile(network)
    lr = torch.zeros(batch, 3, settings.patch, settings.patch, device=device)
    if settings.channels_last:
        lr = lr.contiguous(memory_format=torch.channels_last)
    buffers = [buffer.clone() for buffer in model.buffers()]  # the trial changes statistics of batch normalisation
    try:
        with autocast(settings.precision, device):
            sr = compiled(lr)
        torch.stack([each.float().sum() for each in ([sr] if isinstance(sr, Tensor) else sr)]).sum().backward()
    except (RuntimeError, OSError, ImportError) as error:  # every error of torch.compile is a RuntimeError
        message = str(error).strip().splitlines()
        print(
            f"torch.compile does not work here ({message[0] if message else type(error).__name__}); it is not used.",
            file=sys.stderr,
        )
        return network
    finally:
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, before in zip(model.buffers(), buffers, strict=True):
                buffer.copy_(before)
    return compiled


def _seed(*numbers: int) -> int:
    """One 63-bit seed from several numbers (FNV-1a over their digits: the same on every machine)."""
    value = 0xCBF29CE484222325
    for byte in ",".join(map(str, numbers)).encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value >> 1


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


def _finish(output: Path, run: Run, model: nn.Module, state: Progress, record: dict[str, Any]) -> dict[str, Any]:
    models.set_auxiliary_loss(model, False)
    with atomic_write(output / "config.json") as temporary:
        temporary.write_text(json.dumps(run.as_dict(), indent=2) + "\n", encoding="utf-8")
    with atomic_write(output / "train.csv") as temporary:
        pd.DataFrame(state.rows, columns=list(COLUMNS)).astype({"step": int}).to_csv(temporary, index=False)
    models.save(model, output / "weights.safetensors")
    (output / "diverged.json").unlink(missing_ok=True)
    record = {"run_id": run.id, "weights_sha256": sha256(output / "weights.safetensors"), **record}
    with atomic_write(output / "provenance.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record
