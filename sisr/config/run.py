"""The resolved configuration of a run: one network, one scale, one seed, one training recipe.

Only the standard library is imported, so that the workflow can be planned without torch.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any, get_args, get_type_hints

from sisr.config.declared import check_network_options, network_of, networks, paper, whole_numbers
from sisr.config.mechanisms import is_custom, write_options
from sisr.config.schema import shown
from sisr.utils.errors import UsageError
from sisr.utils.files import sha256

PRECISIONS = ("float32", "bfloat16")
INITIALISATIONS = ("pytorch", "interpolation")
SCHEDULES = ("halving", "cosine")
BACKBONE_ONLY = ("blocks", "channels", "residual_scale", "initialisation")
"""Settings that only EDSR and its configurations have."""
LARGEST = 2**63 - 1  # of any setting: seeds are numbers of 64 bits


def _setting(help_: str, *, paper: str = "", later: bool = False, **options: Any) -> Any:
    """A dataclass field with its help text; `paper` is the paper's value.

    later: the setting was added after the first release. Its default is not part of the run's id, so that the ids of
    existing runs do not change.
    """
    return field(metadata={"help": help_, "paper": paper, "later": later}, **options)


@dataclass(frozen=True, kw_only=True)
class Network:
    """Settings of the network: a registered network and the attention in its slots."""

    name: str = _setting(
        "registered network, see `python -m sisr models`, or file.py:Class", default=network_of(paper()["MECHANISM"])
    )
    scale: int = _setting("upscaling factor", paper="2 and 4", default=4)
    blocks: int = _setting("residual blocks of the backbone", paper="32", default=32)
    channels: int = _setting("channels of the backbone", paper="256", default=256)
    residual_scale: float = _setting("factor on each residual branch", paper="0.1", default=0.1)
    attention: str | None = _setting("registered attention, package.module:Class, or none", default=None)
    attention_options: dict[str, Any] = _setting("options of the attention", default_factory=dict)
    slots: tuple[int, ...] | None = _setting(
        "positions of the attention: the number of blocks before each (default: at the start and after every eighth)",
        paper="0 8 16 24 32",
        default=None,
    )
    initialisation: str = _setting(
        "pytorch (its defaults) or interpolation (initial weights close to bicubic)",
        paper="pytorch (released code)",
        default="pytorch",
    )
    network_options: dict[str, Any] = _setting(
        "options of a network other than EDSR and its configurations, which has none of the settings above",
        later=True,
        default_factory=dict,
    )

    def __post_init__(self) -> None:
        _check_types(self)
        for setting in ("attention_options", "network_options"):
            for name, value in getattr(self, setting).items():
                if isinstance(value, int | float) and not abs(value) < math.inf:
                    raise UsageError(f"{setting}.{name} is {shown(value)}; it must be a finite number.")
        check_network_options(self.name, self.network_options, "network_options")
        if self.known_options is not None:
            for part in fields(self):
                if part.name in BACKBONE_ONLY and getattr(self, part.name) != part.default:
                    raise UsageError(
                        f"{self.name} has no setting {part.name}; its options are given by network_options, "
                        f"see `python -m sisr models`."
                    )
        object.__setattr__(self, "attention_options", whole_numbers(self.attention, self.attention_options))
        _positive(self, "scale", "blocks", "channels", "residual_scale")
        _one_of(self, "initialisation", INITIALISATIONS)
        for slot in self.slots or ():
            if not 0 <= slot <= self.blocks:
                raise UsageError(
                    f"slot {slot} does not exist in a network of {self.blocks} blocks; "
                    f"slots count the blocks before the attention, 0 to {self.blocks}."
                )

    def options(self) -> dict[str, Any]:
        """Options of `models.create` besides name and scale."""
        others = ("name", "scale", "network_options")
        settings = {part.name: getattr(self, part.name) for part in fields(self) if part.name not in others}
        if self.known_options is None:
            return settings
        slots = {name: settings[name] for name in ("attention", "attention_options", "slots") if self.attention}
        return {**self.network_options, **slots}

    @property
    def known_options(self) -> Mapping[str, str] | None:
        """Options of a network with an architecture of its own; None for EDSR and its configurations.

        Those of a network in a file are not known before it is imported.
        """
        if is_custom(self.name):
            return {}
        known = networks().get(self.name)
        return known.options if known else None


@dataclass(frozen=True, kw_only=True)
class Training:
    """Settings of the training. Durations are counted in steps (one batch each)."""

    recipe: str = _setting("recipe of the values (a label): paper or released", default="paper")
    steps: int = _setting("training steps", paper="1,000 epochs; 1,000 steps each (released code)", default=1_000_000)
    batch: int = _setting("patches a step", paper="16", default=16)
    patch: int = _setting("side of the LR patches in pixels", paper="28 at x4, 46 at x2", default=28)
    learning_rate: float = _setting("initial learning rate of Adam", paper="1e-4", default=1e-4)
    beta1: float = _setting("first decay rate of Adam", paper="0.9", default=0.9)
    beta2: float = _setting("second decay rate of Adam", paper="0.99 (released code: 0.999)", default=0.99)
    epsilon: float = _setting("Adam's epsilon", paper="not known; 1e-8 (released code)", default=1e-8)
    halve_every: int = _setting("steps after which the learning rate is halved", paper="200 epochs", default=200_000)
    contrastive_weight: float = _setting(
        "weight λ of the attention's auxiliary loss, 0 for none",
        paper="not known; 0.001 (released code)",
        default=0.0,
    )
    contrastive_start: int = _setting(
        "step at which the auxiliary loss starts", paper="after 150 epochs", default=150_000
    )
    redraw_every: int = _setting(
        "steps between two draws of the random projection, 0 for never", paper="every epoch", default=1_000
    )
    precision: str = _setting("float32, or bfloat16 autocast", paper="float32 (released code)", default="float32")
    channels_last: bool = _setting("use the channels-last memory layout", default=False)
    compile: bool = _setting(
        "use torch.compile; without a working compiler, training continues without it", default=False
    )
    tf32: bool = _setting(
        "allow TF32 on a GPU (factors of float32 products rounded to 10 bits)",
        paper="not known",
        later=True,
        default=False,
    )
    accumulate: int = _setting(
        "number of sequential parts of a batch, to save memory", paper="1", later=True, default=1
    )
    ema_decay: float = _setting(
        "decay of an exponential moving average of the weights, which is then the result; 0 for none",
        paper="none",
        later=True,
        default=0.0,
    )
    schedule: str = _setting(
        "learning rate over the steps: halving (every halve_every steps) or cosine (to zero at the last step)",
        paper="halving",
        later=True,
        default="halving",
    )
    start_from: str = _setting(
        "trained weights to continue from: id of a run, or sha256: and the digest of a weights file",
        paper="none",
        later=True,
        default="",
    )
    inserted_rate: float = _setting(
        "factor on the learning rate of the weights that start_from does not provide",
        paper="none",
        later=True,
        default=1.0,
    )

    def __post_init__(self) -> None:
        _check_types(self)
        _positive(self, "steps", "batch", "patch", "learning_rate", "halve_every", "epsilon", "inserted_rate")
        _not_negative(self, "contrastive_weight", "contrastive_start", "redraw_every")
        _one_of(self, "precision", PRECISIONS)
        _one_of(self, "schedule", SCHEDULES)
        if self.inserted_rate != 1 and not self.start_from:
            raise UsageError("inserted_rate needs start_from: without it every weight is new.")
        if self.accumulate < 1 or self.batch % self.accumulate:
            raise UsageError(
                f"a batch of {self.batch} is not divisible into {self.accumulate} equal parts; choose a divisor for "
                "accumulate."
            )
        for name in ("beta1", "beta2", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1.")

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of one step (counted from 0), by the schedule.

        halving: halved every `halve_every` steps. cosine: (1 + cos(π · step / steps)) / 2 of the first one, without
        warm restarts (Loshchilov and Hutter, "SGDR", ICLR 2017).
        """
        if self.schedule == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2
        return self.learning_rate * 0.5 ** (step // self.halve_every)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run of one network. Equal configurations are one run."""

    network: Network
    training: Training
    train: tuple[str, ...] = _setting("training sets", paper="DIV2K 0001-0800", default=("photographs",))
    seed: int = _setting("seed of initialisation, crops and projections", paper="1 (released code)", default=0)

    def __post_init__(self) -> None:
        _check_types(self)
        _not_negative(self, "seed")
        if not self.train or "" in self.train:
            raise UsageError("train names no set; give at least one.")

    @cached_property
    def id(self) -> str:
        """Readable and unique: names first, then a short hash of the whole resolved configuration."""
        network = self.network
        name = _short(network.name.split(":")[-1]) if is_custom(network.name) else network.name
        parts = [name, f"x{network.scale}"]
        # the id contains the attention if it is not the default of the network
        known = networks().get(network.name)
        if network.attention and (known is None or known.get("attention") != network.attention):
            parts.append(_short(network.attention.split(":")[-1]))
        for option, letter in (("k", "k"), ("m", "m"), ("rounds", "r")):
            if option in network.attention_options:
                parts.append(f"{letter}{_short(network.attention_options[option])}")
        parts += [f"s{self.seed}", self.digest]
        return "-".join(parts)

    @cached_property
    def digest(self) -> str:
        """First eight hexadecimal digits of the SHA-256 of the configuration."""
        plain = self.as_dict()
        for part, settings in (("network", self.network), ("training", self.training)):
            for setting in fields(settings):
                if setting.metadata.get("later") and getattr(settings, setting.name) == _default(setting):
                    del plain[part][setting.name]
        text = json.dumps(plain, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types, as in `config.json`; inverse of `from_dict`."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        plain["data"] = {"train": plain.pop("train")}
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Run":
        """Inverse of `as_dict`. Unknown keys raise UsageError."""
        try:
            network = dict(plain["network"])
            if isinstance(network.get("slots"), list):
                network["slots"] = tuple(network["slots"])
            sets = plain["data"]["train"]
            return cls(
                network=Network(**network),
                training=Training(**plain["training"]),
                train=tuple(sets) if isinstance(sets, list) else sets,
                seed=plain["seed"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"this is not the configuration of a run: {error}.") from error

    def arguments(self, start: str = "") -> list[str]:
        """Arguments of `python -m sisr train` for this run.

        The arguments of a run must not change between versions: Snakemake retrains a run whose arguments change.

        start: path of the run or weights file behind `training.start_from`, where there is one.
        """
        words = ["--start-from", start] if self.training.start_from else []
        for part in (self.network, self.training):
            for setting in fields(part):
                value = getattr(part, setting.name)
                if setting.name == "start_from" or (value == _default(setting) and setting.name != "name"):
                    continue  # None is always a default
                words += _words(flag(setting.name), value)
        return [*words, "--train", *self.train, "--seed", str(self.seed)]


def complete(plain: dict[str, Any]) -> dict[str, Any]:
    """What `config.json` of a run holds, with the defaults of settings that a later version added."""
    added = {
        part: {s.name: _default(s) for s in fields(kind) if s.metadata.get("later")}
        for part, kind in (("network", Network), ("training", Training))
    }
    return {**plain, **{part: {**later, **plain[part]} for part, later in added.items() if part in plain}}


def weights_identity(file: Path) -> str:
    """What `training.start_from` holds for a weights file: `sha256:` and its digest."""
    return f"sha256:{sha256(file)}"


def flag(name: str) -> str:
    """Command-line flag of a setting: `halve_every` is `--halve-every`, the network's name is `--network`."""
    return "--network" if name == "name" else "--" + name.replace("_", "-")


def _short(value: Any) -> str:
    # file systems allow 255 bytes for the name of a folder
    return f"{value:g}" if isinstance(value, int | float) else re.sub(r"[^A-Za-z0-9]+", "_", str(value))[:60]


def _default(setting: "Field[Any]") -> Any:
    return setting.default_factory() if callable(setting.default_factory) else setting.default


def _words(flag_: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag_ if value else flag_.replace("--", "--no-", 1)]
    if isinstance(value, dict):
        return [flag_, *write_options(dict(sorted(value.items())))]
    if isinstance(value, tuple):
        return [flag_, *map(str, value)]
    return [flag_, str(value)]


_TYPES: dict[Any, tuple[type, str]] = {
    str: (str, "text"),
    bool: (bool, "true or false"),
    tuple[int, ...]: (tuple, "a list of whole numbers"),
    tuple[str, ...]: (tuple, "a list of names"),
    dict[str, Any]: (dict, "a mapping of options"),
}


@cache
def _hints(part: type) -> dict[str, Any]:
    return get_type_hints(part)


def _check_types(part: Any) -> None:
    """Refuse values of another type, and make 10 of a float setting 10.0, and 4.0 of a whole one 4: one value is one
    run, however it is written."""
    for name, hint in _hints(type(part)).items():  # type: ignore[arg-type]  # a class can be hashed
        value = getattr(part, name)
        if type(None) in get_args(hint):
            if value is None:
                continue
            hint = next(kind for kind in get_args(hint) if kind is not type(None))
        if hint in (int, float):
            object.__setattr__(part, name, _number(name, hint, value))
        elif hint in _TYPES:
            kind, words = _TYPES[hint]
            items = value if isinstance(value, tuple) else ()
            if not isinstance(value, kind) or any(type(item) is not get_args(hint)[0] for item in items):
                raise UsageError(f"{name} is {shown(value)}; it must be {words}.")


def _number(name: str, kind: type, value: Any) -> int | float:
    whole = type(value) is int or (type(value) is float and value.is_integer())
    if not (whole or (type(value) is float and kind is float)):
        raise UsageError(f"{name} is {shown(value)}; it must be a {'whole ' * (kind is int)}number.")
    if whole and abs(value) > LARGEST:
        raise UsageError(f"{name} is {shown(value)}; it must be at most {LARGEST}.")
    number: int | float = kind(value)
    return number


def _positive(part: Any, *names: str) -> None:
    for name in names:
        value = getattr(part, name)
        if not (value > 0 and math.isfinite(value)):
            raise UsageError(f"{name} is {value}; it must be above 0.")


def _not_negative(part: Any, *names: str) -> None:
    for name in names:
        value = getattr(part, name)
        if not (value >= 0 and math.isfinite(value)):
            raise UsageError(f"{name} is {value}; it must be 0 or more.")


def _one_of(part: Any, name: str, allowed: tuple[str, ...]) -> None:
    if getattr(part, name) not in allowed:
        raise UsageError(f"{name} is {getattr(part, name)!r}; it must be one of {', '.join(allowed)}.")
