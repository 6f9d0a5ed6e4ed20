"""From photographs to the tables of the paper.

The default preset is config/quick.yaml; `--configfile config/paper.yaml` selects another.
"""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.25")

if Path.cwd().resolve() != Path(workflow.basedir).resolve():
    # all paths are relative to this folder
    sys.exit(f"the workflow runs in its own folder: add --directory {workflow.basedir}")

if "preset" not in config:

    configfile: "config/quick.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/complexity.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/reference_checks.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/paper_figures.smk"


rule all:
    default_target: True
    input:
        RESULTS.summary,
        expand(RESULTS.table("{name}", "html"), name=NAMES),
        expand(RESULTS.notebook("{name}"), name=[*NAMES, "what_enla_computes"]),
        expand(RESULTS.figure("{name}"), name=VISUAL),


for name in NAMES:

    rule:
        name:
            name
        input:
            RESULTS.table(name, "html"),
            RESULTS.notebook(name),


for name in VISUAL:

    rule:
        name:
            name
        input:
            RESULTS.figure(name),


onsuccess:
    show_tables()
