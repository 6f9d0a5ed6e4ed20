"""From a preset to its runs: network, scale and seed of each row of each table.

Only the standard library, PyYAML and jsonschema are imported, so that the workflow can be planned without torch.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from sisr.config import comparison as planning
from sisr.config import declared
from sisr.config.comparison import Comparison
from sisr.config.declared import paper
from sisr.config.layout import CATALOGUE, IMAGES
from sisr.config.mechanisms import Mechanism, float_k, is_custom
from sisr.config.recipes import TRAINING, attention_options
from sisr.config.run import Network, Run, Training, weights_identity
from sisr.config.schema import can_check, nearest
from sisr.config.settings import check
from sisr.utils import yaml_files
from sisr.utils.errors import UsageError
from sisr.utils.files import IMAGE_SUFFIXES, is_file, is_folder, read_run_json

_SCALES = (2, 3, 4)
BACKBONE = "backbone"
CONTROLS = ("bicubic", "hr")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The runs of each table of a preset, and the data sets."""

    preset: str
    experiments: dict[str, tuple[Run, ...]]
    train: tuple[str, ...]
    test: tuple[str, ...]
    published: dict[str, Path]
    """Weights files of published networks to measure for Table 1, by `<network>-x<scale>`."""
    images: dict[str, dict[str, Path]]
    """Folders of SR images that authors published, by `images-<method>-x<scale>` and test set."""
    mechanisms: tuple[str, ...]
    """Mechanisms of Table 4, as for `python -m sisr complexity`: `enlca:m=128`."""
    comparison: Comparison | None = None
    """Mechanisms to compare, if any."""
    backbones: tuple[Run, ...] = ()
    """Runs that the others continue from, one a scale."""
    start_files: dict[str, Path] = field(default_factory=dict)
    """Weights files that runs continue from, by `training.start_from`."""
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    """The configuration that this is the plan of, checked."""

    @property
    def runs(self) -> dict[str, Run]:
        """All runs by their id, each once, the backbones first."""
        compared = () if self.comparison is None else self.comparison.runs.values()
        return {run.id: run for runs in (self.backbones, *self.experiments.values(), *compared) for run in runs}

    def not_evaluated(self, run: Run) -> dict[str, str]:
        """Test sets that a run is not evaluated on, with the reason."""
        return dict(self.config.get("not_evaluated", {}).get(run.network.attention or "none", {}))

    def left_out(self, run: Run) -> list[str]:
        """Arguments of `python -m sisr evaluate` that leave these sets out."""
        reasons = self.not_evaluated(run).items()
        return [word for name, reason in reasons for word in ("--not-evaluated", f"{name}={reason}")]

    def start(self, run: Run, runs: Path) -> Path | None:
        """Folder below `runs`, or file, of the weights that a run continues from; None for one from scratch."""
        start = run.training.start_from
        return self.start_files.get(start, runs / start) if start else None


def plan(config: Any, root: Path = Path(), data: Path = Path("data")) -> Plan:
    """Check a preset and resolve it. Raises UsageError where it is invalid.

    config: the merged configuration, as in `config/quick.yaml`. root: folder that all paths are relative to. data:
    folder of the image sets.
    """
    checked = check(config)
    try:
        return _plan(checked, root, root / data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if can_check():
            raise
        raise UsageError(
            f"the preset is not valid ({error!r}); install jsonschema, which names what is wrong."
        ) from error


def _plan(config: dict[str, Any], root: Path, data: Path) -> Plan:
    _check_names(config, root)
    start_files = _start_files(config, root)
    comparison = planning.plan(config, list(known_attention()), partial(_compared_run, config), root)
    train, test = _data_sets(config, root, data)
    if comparison and comparison.rates:
        _check_validation(config, root, data)
    _check_scales(config, (*train, *test, *config["data"].get("validate", [])), comparison)
    experiments = {
        "table1": tuple(_table1(config)),
        "table2": tuple(_table2(config)),
        "table4": tuple(_table4(config)),
        "k_sweep": tuple(_k_sweep(config)),
    }
    compared = comparison.runs.values() if comparison else ()
    runs = [run for listed in (*experiments.values(), *compared) for run in listed]
    return Plan(
        preset=config["preset"],
        backbones=tuple(_backbones(config, runs)),
        start_files=start_files,
        experiments=experiments,
        train=train,
        test=test,
        published=_published(config, root),
        images=_published_images(config, root, test),
        mechanisms=tuple(map(str, _mechanisms(config["table4"]))),
        comparison=comparison,
        config=config,
    )


def known_attention() -> dict[str, Path]:
    """Files of the registered mechanisms by name."""
    return {name: mechanism.file for name, mechanism in declared.mechanisms().items()}


def _run(
    config: dict[str, Any],
    seed: int,
    scale: int,
    name: str,
    attention: str | None,
    options: Mapping[str, Any] | None = None,
    *,
    learning_rate: float | None = None,
    compared: bool = False,
) -> Run:
    """compared: the network is the backbone of a comparison, and has slots."""
    recipe = config["recipe"]
    training = {**TRAINING[recipe], **config["training"]}
    if learning_rate is not None:
        training["learning_rate"] = learning_rate
    if isinstance(training["patch"], dict):
        by_scale = {int(key): value for key, value in training["patch"].items()}
        if scale not in by_scale:
            raise UsageError(f"training.patch has no value for x{scale}; add one.")
        training["patch"] = by_scale[scale]
    # what a run does not depend on is left out of its configuration, so that changing it retrains nothing; a custom
    # mechanism may have anything
    known = declared.mechanisms().get(attention or "none")
    if attention is None or (known and not known.get("own_loss", True)) or not training["contrastive_weight"]:
        training |= {"contrastive_weight": 0.0, "contrastive_start": 0}
    if attention is None or (known and not known.get("random_projection", True)):
        training["redraw_every"] = 0
    if training.get("start_from") == BACKBONE:
        scratch = declared.own_architecture(name) and not compared
        training["start_from"] = "" if scratch else _backbone(config, scale, name).id
    if attention is None or not training.get("start_from"):
        training["inserted_rate"] = 1.0
    # a network with an architecture of its own has options of its own
    network = {} if declared.own_architecture(name) else dict(config["network"])
    own_options = dict(config.get("network_options", {}).get(name, {}))
    slots = (own_options if compared and declared.own_architecture(name) else network).pop("slots", None)
    resolved = {} if attention is None else {**_options(config, attention), **(options or {})}
    return Run(
        network=Network(
            name=name,
            scale=scale,
            attention=attention,
            attention_options=resolved,
            slots=None if attention is None or slots is None else tuple(slots),
            network_options=own_options,
            **network,
        ),
        training=Training(recipe=recipe, **training),
        train=tuple(config["data"]["train"]),
        seed=seed,
    )


def _compared_run(
    config: dict[str, Any],
    seed: int,
    scale: int,
    name: str,
    attention: str | None,
    options: Mapping[str, Any],
    learning_rate: float | None,
) -> Run:
    return _run(config, seed, scale, name, attention, options, learning_rate=learning_rate, compared=True)


def _backbone(config: dict[str, Any], scale: int, name: str) -> Run:
    """The network without attention that the runs of a scale in network `name` continue from."""
    backbone = config[BACKBONE]
    training = {**config["training"], "start_from": "", **backbone["training"]}
    network = name if declared.own_architecture(name) else paper()["BACKBONE"]
    return _run({**config, "training": training}, backbone.get("seed", 0), scale, network, None, compared=True)


def _backbones(config: dict[str, Any], runs: Iterable[Run]) -> Iterator[Run]:
    if config["training"].get("start_from") == BACKBONE:
        # a run from scratch, which some networks of Table 1 are, counts for the scale only
        places = {(run.network.scale, run.network.name if run.training.start_from else "") for run in runs}
        names = {
            (scale, name if name and declared.own_architecture(name) else paper()["BACKBONE"]) for scale, name in places
        }
        yield from (_backbone(config, scale, name) for scale, name in sorted(names))


def _start_files(config: dict[str, Any], root: Path) -> dict[str, Path]:
    """Put the digest of a weights file in the place of its path; the path by its digest."""
    start = config["training"].get("start_from", "")
    if start == BACKBONE and BACKBONE not in config:
        raise UsageError("training.start_from is backbone, but the preset has no section `backbone`; add one.")
    if BACKBONE in config and start != BACKBONE:
        raise UsageError("the preset has a section `backbone` that no run uses; set training.start_from: backbone.")
    if start in ("", BACKBONE):
        return {}
    config["training"]["start_from"] = _start(root / start)
    return {config["training"]["start_from"]: Path(start)}


def _start(path: Path) -> str:
    """What `training.start_from` holds for the folder of a finished run, or a weights file."""
    if is_file(path):
        return weights_identity(path)
    files = path / "config.json", path / "weights.safetensors"
    if not all(map(is_file, files)):
        raise UsageError(f"training.start_from is {path}, which is not a weights file or the folder of a finished run.")
    return Run.from_dict(read_run_json(files[0])).id


def _options(config: dict[str, Any], attention: str) -> dict[str, Any]:
    overrides = config.get("attention_options", {}).get(attention, {})
    options = {**attention_options(config["recipe"], attention), **overrides}
    return float_k(options)


def _table1(config: dict[str, Any]) -> Iterator[Run]:
    for scale in config["table1"]["scales"]:
        for name in config["table1"]["networks"]:
            for seed in config["seeds"]:
                known = declared.networks().get(name)
                yield _run(config, seed, scale, name, known.get("attention") if known else None)


def _in_slots(config: dict[str, Any], seed: int, scale: int, attention: str | None, **options: Any) -> Run:
    """An attention in the network that is named after it, or in the backbone."""
    return _run(config, seed, scale, declared.network_of(attention), attention, options)


def _table2(config: dict[str, Any]) -> Iterator[Run]:
    scale, mechanism, without_loss = config["table2"]["scale"], paper()["MECHANISM"], paper()["WITHOUT_LOSS"]
    for seed in config["seeds"]:
        yield _in_slots(config, seed, scale, None)
        yield _in_slots(config, seed, scale, without_loss, k=1.0)
        yield _in_slots(config, seed, scale, without_loss, k=_options(config, mechanism)["k"])
        yield _in_slots(config, seed, scale, mechanism)


def _table4(config: dict[str, Any]) -> Iterator[Run]:
    table = config["table4"]
    for seed in config["seeds"]:
        for attention in table["attention"]:
            yield _run(config, seed, table["scale"], paper()["BACKBONE"], attention)
        for option, mechanism in paper()["TABLE4"].items():
            for value in table[option]:
                yield _in_slots(config, seed, table["scale"], mechanism, **{option: value})


def _k_sweep(config: dict[str, Any]) -> Iterator[Run]:
    for seed in config["seeds"]:
        for k in config["k_sweep"]["k"]:
            yield _in_slots(config, seed, config["k_sweep"]["scale"], paper()["MECHANISM"], k=float(k))


def _mechanisms(table: dict[str, Any]) -> Iterator[Mechanism]:
    yield from map(Mechanism, table["attention"])
    for option, mechanism in paper()["TABLE4"].items():
        yield from (Mechanism(mechanism, {option: value}) for value in table[option])


def _published(config: dict[str, Any], root: Path) -> dict[str, Path]:
    """Weights files for the scales of Table 1; raises for missing files.

    The name is that of a registered network, or of any other: it is the name of the row.
    """
    weights = {}
    for name, files in config.get("published_weights", {}).items():
        if name in CONTROLS:
            raise UsageError(f"published_weights.{name} is the name of a control; choose another name.")
        for scale, file in files.items():
            if not is_file(root / file):
                raise UsageError(f"published_weights.{name}.{scale} is {file}, which is not a file.")
            if int(scale) in config["table1"]["scales"]:
                weights[f"{name}-x{scale}"] = Path(file)
    return weights


def _published_images(config: dict[str, Any], root: Path, test: tuple[str, ...]) -> dict[str, dict[str, Path]]:
    """Folders of SR images for the scales of Table 1 and the test sets; raises for missing folders and other sets."""
    images: dict[str, dict[str, Path]] = {}
    listed = [*config["data"]["test"], *config["data"].get("test_if_present", [])]
    for method, by_scale in config.get("published_images", {}).items():
        for scale, folders in by_scale.items():
            for name, folder in folders.items():
                where = f"published_images.{method}.{scale}.{name}"
                if name not in listed:
                    raise UsageError(f"{where}: {name} is not a test set of the preset; {nearest(name, listed)}")
                _check_folder(where, root / folder)
                if int(scale) in config["table1"]["scales"] and name in test:
                    images.setdefault(f"{IMAGES}{method}-x{scale}", {})[name] = Path(folder)
    return images


def _check_names(config: dict[str, Any], root: Path) -> None:
    networks = list(declared.networks())
    for number, name in enumerate(config["table1"]["networks"]):
        if is_custom(name):
            with _at(f"table1.networks.{number}"):
                Mechanism(name).check(networks, root, "network")
        elif name not in networks:
            raise UsageError(f"table1.networks.{number} is {name!r}; {nearest(name, networks)}")
        if name in config.get("published_weights", {}):
            raise UsageError(
                f"table1.networks.{number} is {name}, which is measured with published_weights; remove one of the two."
            )
    for name, options in config.get("network_options", {}).items():
        if name not in networks and not is_custom(name):
            raise UsageError(f"network_options has an unknown network {name!r}; {nearest(name, networks)}")
        declared.check_network_options(name, options, f"network_options.{name}")
    known = known_attention()
    for number, name in enumerate(config["table4"]["attention"]):
        with _at(f"table4.attention.{number}"):
            Mechanism(name).check(known, root)
    for name, options in config.get("attention_options", {}).items():
        with _at("attention_options"):
            Mechanism(name).check(known, root)
        declared.check_options(name, options, f"attention_options.{name}")
    for name, sets in config.get("not_evaluated", {}).items():
        with _at("not_evaluated"):
            Mechanism(name).check(known, root)
        tests = [*config["data"]["test"], *config["data"].get("test_if_present", [])]
        if wrong := next((one for one in sets if one not in tests), None):
            raise UsageError(f"not_evaluated.{name}: {wrong} is not in data.test; {nearest(wrong, tests)}")


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Name the key in the message of an error."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


@cache
def _descriptions() -> dict[str, Any]:
    descriptions: dict[str, Any] = yaml_files.read(CATALOGUE)["sets"]
    return descriptions


def _data_sets(config: dict[str, Any], root: Path, data: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the training and test sets; those of `test_if_present` only if their images are present."""
    sets = config["data"]
    known = _descriptions()
    folders = sets.get("folders", {})
    for name, folder in folders.items():
        if name in known:
            raise UsageError(f"data.folders uses the name {name!r} of a known data set; use another name.")
        _check_folder(f"data.folders.{name}", root / folder)
    for key in ("train", "test", "test_if_present", "validate"):
        for number, name in enumerate(sets.get(key, [])):
            if name not in known and name not in folders:
                hint = nearest(name, [*known, *folders])
                raise UsageError(f"data.{key}.{number}: there is no data set {name!r}; {hint}")
    present = [
        name for name in sets.get("test_if_present", []) if name not in sets["test"] and _has_images(data / name / "HR")
    ]
    train, test = tuple(sets["train"]), (*sets["test"], *present)
    for one in train:
        for other in test:
            if one == other:
                raise UsageError(f"{one} is both a training set and a test set; remove it from one.")
            images = [_folder(config, name, root, data) for name in (one, other)]
            if images[0] == images[1]:
                raise UsageError(
                    f"the training set {one} and the test set {other} are the same folder {images[0]}; "
                    "remove it from one of data.train and data.test."
                )
    return train, test


def _check_validation(config: dict[str, Any], root: Path, data: Path) -> None:
    """Refuse validation sets that are missing, or that the networks are trained or tested on, also by another name."""
    sets = config["data"]
    others = {"train": sets["train"], "test": [*sets["test"], *sets.get("test_if_present", [])]}
    example = "name others: --config 'data={validate: [T91]}'"
    if not sets.get("validate"):
        raise UsageError(f"compare.learning_rates are chosen on data.validate, which has no set; {example}.")
    for one in sets["validate"]:
        for key, names in others.items():
            if same := next(
                (name for name in names if _folder(config, name, root, data) == _folder(config, one, root, data)), None
            ):
                raise UsageError(
                    f"compare.learning_rates are chosen on data.validate, but its set {one} is in data.{key}"
                    f"{f' as {same}' if same != one else ''}, too; {example}."
                )


def _folder(config: dict[str, Any], name: str, root: Path, data: Path) -> Path:
    """The folder of a set's HR images, without links."""
    folders = config["data"].get("folders", {})
    return _images(root / folders[name] if name in folders else data / name)


def _images(folder: Path) -> Path:
    """The folder that holds a set's HR images, without links."""
    return (folder / "HR" if is_folder(folder / "HR") else folder).resolve()


def _has_images(folder: Path) -> bool:
    return is_folder(folder) and any(file.suffix.lower() in IMAGE_SUFFIXES for file in folder.iterdir())


def _check_folder(key: str, folder: Path) -> None:
    if not is_folder(folder):
        raise UsageError(f"{key} is {folder}, which is not a folder.")
    if not (_has_images(folder) or _has_images(folder / "HR")):
        raise UsageError(f"{key} is {folder}, which contains no images ({', '.join(IMAGE_SUFFIXES)}).")


def _check_scales(config: dict[str, Any], names: tuple[str, ...], comparison: Comparison | None) -> None:
    known = _descriptions()
    scales = {*config["table1"]["scales"], *(config[table]["scale"] for table in ("table2", "table4", "k_sweep"))}
    scales |= {comparison.scale} if comparison else set()
    for name in names:
        # sets without LR images are reduced here
        offered = known.get(name, {}).get("scales") or _SCALES
        for scale in sorted(scales - set(offered)):
            listed = ", ".join(f"x{item}" for item in offered)
            raise UsageError(f"{name} is available at {listed}, not at x{scale}; choose one of these scales.")
