"""Which runs, sets and files the preset asks for."""

import csv
import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, workflow.basedir)
# the jobs' python is the one that runs this, activated or not; an environment that conda activates comes before it
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
)

from sisr.config import comparison as planning
from sisr.config import declared, preflight
from sisr.config.image_folders import store_sources
from sisr.config.layout import IMAGES, Results
from sisr.config.paper_figures import figures
from sisr.config.presets import known_attention, plan
from sisr.config.run import Run
from sisr.utils import gpus, yaml_files
from sisr.utils.errors import SisrError
from sisr.utils.files import image_paths, read_run_json

try:
    # Snakemake's own reader takes the last of two equal keys, and anything that a file of a few lines expands to
    for file in workflow.configfiles:
        yaml_files.read(Path(file))
    PLAN = plan(config)
    config.update(PLAN.config)
except SisrError as error:
    sys.exit(f"{error}")

# jobs that ask for a GPU wait until they have one of their own (sisr/utils/gpus.py)
if config.get("gpus_per_run", 0):
    os.environ[gpus.RUNS] = str(config.get("runs_per_gpu", 1))
# on this machine, as many at once as there are GPUs (at least one, that may not be NVIDIA's), and downloads one by one;
# on a cluster, its scheduler counts the GPUs. `--resources gpu=2` is another number.
LOCAL = workflow.resource_settings.nodes is None
if workflow.is_main_process:
    for name, most in {"download": 1, "gpu": max(1, gpus.slots())}.items():
        if name not in workflow.global_resources and (LOCAL or name != "gpu"):
            workflow.register_resource(name, most)
# a stopped training run (preemption, time limit, not enough memory) resumes from its checkpoint: on a cluster in a new
# job, not within the one that reached its time limit
RETRIES = (
    config.get("retries_per_run", 1 if LOCAL else 3) if workflow.is_main_process else 0
)
# for what is measured: a job beside it would be measured, too
ALL_CORES = workflow.resource_settings.cores or config.get("threads_per_run", 1)

RESULTS = Results(Path("results") / PLAN.preset)
SHARED = Results(Path("results"))  # logs of what belongs to no preset
NAMES = list(PLAN.experiments)
if workflow.is_main_process:
    try:
        preflight.check(PLAN, RESULTS.checked)
    except SisrError as error:
        sys.exit(f"{error}")
VISUAL = figures(PLAN)
# names of the networks with published weights, registered ones and those of the preset
MEASURED = "|".join(
    dict.fromkeys(
        [
            *declared.published(),
            *(name.rpartition("-x")[0] for name in PLAN.published),
        ]
    )
)
# of the environment, not a parameter: what shows of a training while it runs changes nothing that it makes, nor do the
# test sets, whose images it refuses to train on
os.environ.update(
    SISR_WATCH=shlex.join(
        ["--validate", *config["data"].get("validate", [])]
        + ["--tensorboard"] * config.get("tensorboard", False)
        + ([] if config["data"].get("overlap_allowed") else ["--test", *PLAN.test])
    )
)


wildcard_constraints:
    set=r"[A-Za-z0-9_-]+",
    store=r"hr|x\d+",
    scale=r"\d+",
    table="|".join(NAMES),


def stores(names, scale):
    """Prepared images of some sets at a scale: HR and LR."""
    return [
        f"data/prepared/{name}/{store}/index.json"
        for name in names
        for store in ("hr", f"x{scale}")
    ]


def training_stores(wildcards):
    run = PLAN.runs[wildcards.run]
    return stores(run.train, run.network.scale)


def training_arguments(wildcards):
    run = PLAN.runs[wildcards.run]
    return shlex.join(run.arguments(str(PLAN.start(run, RESULTS.runs))))


def training_start(wildcards):
    """Weights that a run continues from."""
    start = PLAN.start(PLAN.runs[wildcards.run], RESULTS.runs)
    if start is None:
        return []
    return (
        [start]
        if start.is_file()
        else [start / "weights.safetensors", start / "config.json"]
    )


def run_scale(wildcards):
    return PLAN.runs[wildcards.run].network.scale


def test_stores(wildcards):
    return stores(PLAN.test, run_scale(wildcards))


def test_folders(wildcards):
    return [f"data/prepared/{name}" for name in PLAN.test]


def evaluated_on(wildcards):
    """The test sets as arguments, with those that the run is not evaluated on."""
    # one parameter: a further one would evaluate every finished run again
    left_out = PLAN.left_out(PLAN.runs[wildcards.run])
    return [*test_folders(wildcards), *map(shlex.quote, left_out)]


def measured(run, scale):
    """Per-image rows of one run, or of a control, on every test set."""
    return [RESULTS.rows(run, name, scale) for name in PLAN.test]


def table_scales(table):
    return sorted({run.network.scale for run in PLAN.experiments[table]})


def table_inputs(wildcards):
    """What a table is computed from."""
    runs = PLAN.experiments[wildcards.table]
    files = [file for run in runs for file in measured(run.id, run.network.scale)]
    files += [RESULTS.run(run.id) / "provenance.json" for run in runs]
    for scale in table_scales(wildcards.table):
        files += measured(f"bicubic-x{scale}", scale) + measured(f"hr-x{scale}", scale)
    if wildcards.table == "table1":
        for name in PLAN.published:
            files += measured(name, name.rpartition("x")[2])
        for name, folders in PLAN.images.items():
            scale = name.rpartition("x")[2]
            files += [RESULTS.rows(name, dataset, scale) for dataset in folders]
    if wildcards.table == "table4":
        files.append(RESULTS.complexity())
    return sorted(set(files))


def table_arguments(wildcards):
    words = [
        "--runs",
        *dict.fromkeys(run.id for run in PLAN.experiments[wildcards.table]),
    ]
    if wildcards.table == "table4":
        words += ["--complexity", str(RESULTS.complexity())]
    return shlex.join(words)


def show_tables():
    """Print what was made and how to continue; after a single target the tables may be out of date."""
    from sisr.cli import last_screen

    shown = {RESULTS.summary: NAMES}
    if PLAN.comparison:
        shown[RESULTS.comparison_summary] = ["compare"]
    current = []
    for summary, names in shown.items():
        tables = [RESULTS.table(name) for name in names]
        made = [file.stat().st_mtime for file in tables if file.exists()]
        if summary.exists() and summary.stat().st_mtime >= max(made, default=0):
            current.append((summary.stat().st_mtime, summary, names))
    if current:
        # what was made last is what was asked for
        _, summary, names = max(current)
        print("\n".join(last_screen.lines(RESULTS, PLAN.preset, names, summary)))


def set_source(wildcards):
    """What a prepared set depends on: the record of a known set, or the images of one's own folder."""
    folders = config["data"].get("folders", {})
    if wildcards.set in folders:
        index = Path("data/prepared", wildcards.set, wildcards.store, "index.json")
        return store_sources(folders[wildcards.set], wildcards.store, index)
    return f"data/verified/{wildcards.set}.json"


def set_argument(wildcards):
    return shlex.quote(
        config["data"].get("folders", {}).get(wildcards.set, wildcards.set)
    )


def store_argument(wildcards):
    return wildcards.store.removeprefix("x")


def control_stores(wildcards):
    return stores(PLAN.test, wildcards.scale)


def published_file(wildcards):
    return PLAN.published[f"{wildcards.method}-x{wildcards.scale}"]


def published_options(wildcards):
    """Some networks use unrounded LR."""
    known = declared.networks().get(wildcards.method)
    unrounded = known is not None and known.get("unrounded_lr")
    return "--unrounded-lr" if unrounded else ""


def published_images_folder(wildcards):
    name = f"{IMAGES}{wildcards.method}-x{wildcards.scale}"
    return PLAN.images[name][wildcards.set]


def published_images(wildcards):
    return image_paths(published_images_folder(wildcards))


def image_stores(wildcards):
    return stores([wildcards.set], wildcards.scale)


def reference_data(wildcards):
    if "reference_data" not in config:
        raise WorkflowError(
            "the checks need third parties' images, figures and weights; name their folder: --config reference_data=DIR"
        )
    return config["reference_data"]


def growing(first):
    """A resource that is this much at first and as much more at each attempt, where the first was too little."""
    return lambda wildcards, attempt: first * attempt


def visual(wildcards):
    """What a figure of the paper is drawn from."""
    if wildcards.figure not in VISUAL:
        # a sentence without a traceback
        sys.exit(
            f"this preset trains no network that {wildcards.figure} could show; "
            "name mechanisms in table4 or networks in table1."
        )
    return VISUAL[wildcards.figure]


def visual_runs(wildcards):
    shown = visual(wildcards)
    files = ("weights.safetensors", "config.json", "provenance.json")
    return [
        *(RESULTS.run(run.id) / file for run in shown.runs for file in files),
        *shown.published,
    ]


def visual_stores(wildcards):
    shown = visual(wildcards)
    return stores([shown.dataset], shown.scale)


def visual_methods(wildcards):
    shown = visual(wildcards)
    folders = [str(RESULTS.run(run.id)) for run in shown.runs]
    return shlex.join([*folders, *shown.published])


def visual_set(wildcards):
    return f"data/prepared/{visual(wildcards).dataset}"


def visual_scale(wildcards):
    return visual(wildcards).scale


def visual_image(wildcards):
    """The image and the marked position; without a name the set's first image."""
    shown = visual(wildcards)
    image = f"{visual_set(wildcards)}:{shown.image}"
    return shlex.join([image, "--at", shown.at] if shown.at else [image])


def visual_view(wildcards):
    """Figure 1: mechanisms side by side; Figure 7: over k, and what the random features weigh."""
    return (
        "--slot first last" if wildcards.figure == "figure1" else "--over k --estimate"
    )


def code(runs):
    """Files that hold the mechanisms of runs, but for the paper's. A registered one may be newer than what was trained
    with it, which retrains nothing: an upgrade brings new files."""
    registered = known_attention()
    found = {}
    for run in runs:
        if file := planning.code(run, registered):
            path = os.path.relpath(file)
            found[path] = ancient(path) if file in registered.values() else path
    return [found[path] for path in sorted(found)]


def training_code(wildcards):
    return code([PLAN.runs[wildcards.run]])


def comparison():
    if PLAN.comparison is None:
        # a sentence without a traceback
        sys.exit(
            "name the mechanisms to compare: --config 'attention=[enlca, my_attention.py:MyAttention]'"
        )
    return PLAN.comparison


def chosen_rates(wildcards):
    """The table that says which learning rate each mechanism has; nothing without a search."""
    if not comparison().rates:
        return []
    return checkpoints.comparison_choice.get().output.table


def after_search():
    """The comparison with the learning rates that the search chose, once it has ended."""
    if not comparison().rates:
        return comparison()
    with open(chosen_rates(None), encoding="utf-8", newline="") as file:
        chosen = {row["run"] for row in csv.DictReader(file) if row["chosen"] == "yes"}
    return comparison().chosen(chosen)


def compared_runs():
    return [run for runs in after_search().runs.values() for run in runs]


def compared_code(wildcards):
    return code(run for runs in comparison().runs.values() for run in runs)


def validation_rows(wildcards):
    """Per-image rows of every candidate of the search on the validation sets."""
    runs = [run for runs in comparison().candidates.values() for run in runs]
    return [
        RESULTS.validation(run.id) / f"{name}_x{run.network.scale}.csv"
        for run in runs
        for name in comparison().validation
    ] + [RESULTS.run(run.id) / "provenance.json" for run in runs]


def validation_stores(wildcards):
    return stores(PLAN.comparison.validation, run_scale(wildcards))


def validation_folders(wildcards):
    return [f"data/prepared/{name}" for name in PLAN.comparison.validation]


def candidates(wildcards):
    words = (
        f"--candidate={label}={','.join(run.id for run in runs)}"
        for label, runs in comparison().candidates.items()
    )
    return shlex.join([*words, "--test", *PLAN.test])


def compared_rows(wildcards):
    """Per-image rows of the compared runs and of the controls."""
    scale = comparison().scale
    files = [file for run in compared_runs() for file in measured(run.id, scale)]
    files += [RESULTS.run(run.id) / "provenance.json" for run in compared_runs()]
    return (
        files + measured(f"bicubic-x{scale}", scale) + measured(f"hr-x{scale}", scale)
    )


def compared_methods(wildcards):
    words = [word for method in after_search().methods for word in ("--method", method)]
    search = ["--search", str(RESULTS.learning_rates)] if comparison().rates else []
    return shlex.join([*words, "--reference", comparison().reference, *search])


def cost_specs(wildcards):
    """What is measured: each mechanism, then each network, and their labels in the same order."""
    pairs = comparison().specs
    words = [
        spec for place in (0, 1) for spec in (specs[place] for specs in pairs.values())
    ]
    return shlex.join([*words, *(f"--label={label}" for label in (*pairs, *pairs))])


def cost_sizes(wildcards):
    return list(comparison().sizes)


def compared_weights(wildcards):
    files = ("weights.safetensors", "config.json", "provenance.json")
    return [RESULTS.run(run.id) / file for run in compared_runs() for file in files]


def compared_stores(wildcards):
    return stores(PLAN.test, comparison().scale)


def finished_runs(wildcards):
    """Ids of the runs that were evaluated before and are in no part of this comparison."""
    planned = {} if PLAN.comparison is None else PLAN.comparison.runs
    current = {run.id for runs in planned.values() for run in runs}
    found = RESULTS.runs.glob("*/config.json")
    return sorted(
        file.parent.name
        for file in found
        if file.parent.name not in current
        and RESULTS.evaluation(file.parent.name).is_dir()
    )


def leaderboard_rows(wildcards):
    """What the comparison of this call adds to the leaderboard; without one, what is there must be enough."""
    if PLAN.comparison is None and not finished_runs(wildcards):
        # a sentence without a traceback
        sys.exit(
            "nothing has been compared at this preset yet; name mechanisms: "
            "--config 'attention=[enlca, my_attention.py:MyAttention]'"
        )
    return [] if PLAN.comparison is None else compared_rows(wildcards)


def leaderboard_mechanisms(wildcards):
    """The mechanisms of all runs, as `python -m sisr complexity` takes them."""
    planned = {} if PLAN.comparison is None else PLAN.comparison.runs
    runs = [runs[0] for runs in planned.values()]
    for name in finished_runs(wildcards):
        runs.append(Run.from_dict(read_run_json(RESULTS.run(name) / "config.json")))
    return sorted({planning.sorted_spec(run) for run in runs})


def leaderboard_sizes(wildcards):
    return [*planning.sizes(config), min(config["table4"].get("size", [100, 100]))]
