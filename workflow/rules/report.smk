"""Tables, figures and notebooks, created from the per-image rows.

Tables as .tex and figures as .pdf are written beside the others, here and in the other files, but are not declared:
Snakemake has no record of an output that an earlier version did not make, and then notices no changed setting.
"""


rule table:
    input:
        table_inputs,
    output:
        csv=RESULTS.table("{table}"),
        md=RESULTS.table("{table}", "md"),
        html=report(
            RESULTS.table("{table}", "html"),
            category="{table}",
            caption="../report/table.rst",
        ),
        png=report(
            RESULTS.figure("{table}"),
            category="{table}",
            caption="../report/figure.rst",
        ),
        svg=RESULTS.figure("{table}", "svg"),
    log:
        RESULTS.log("tables", "{table}"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        results=RESULTS.root,
        arguments=table_arguments,
    shell:
        "python -m sisr tables {wildcards.table} --results {params.results} {params.arguments} > {log} 2>&1"


rule notebook:
    input:
        source=ancient("notebooks/{table}.ipynb"),
        table=RESULTS.table("{table}"),
        html=RESULTS.table("{table}", "html"),
        figure=RESULTS.figure("{table}"),
    output:
        notebook=RESULTS.notebook("{table}", "ipynb"),
        html=RESULTS.notebook("{table}"),
    log:
        RESULTS.log("notebooks", "{table}"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        results=RESULTS.root,
    shell:
        "python -m sisr notebook {input.source} {output.notebook} --html {output.html}"
        " --results {params.results} > {log} 2>&1"


rule summary:
    input:
        expand(RESULTS.table("{name}"), name=NAMES),
        expand(RESULTS.figure("{name}"), name=NAMES),
        expand(RESULTS.notebook("{name}"), name=[*NAMES, "what_enla_computes"]),
    output:
        RESULTS.summary,
    log:
        RESULTS.log("summary"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        results=RESULTS.root,
    shell:
        "COLUMNS=120 python -m sisr tables --show --results {params.results} > {output} 2> {log}"
