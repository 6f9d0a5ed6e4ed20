"""Tables, figures and notebooks, created from the per-image rows."""


rule table:
    input:
        table_inputs,
    output:
        csv=report(
            RESULTS / "tables/{table}.csv",
            category="{table}",
            caption="../report/table.rst",
        ),
        md=RESULTS / "tables/{table}.md",
        html=report(
            RESULTS / "tables/{table}.html",
            category="{table}",
            caption="../report/table.rst",
        ),
        png=report(
            RESULTS / "figures/{table}.png",
            category="{table}",
            caption="../report/figure.rst",
        ),
        svg=RESULTS / "figures/{table}.svg",
    log:
        RESULTS / "logs/tables/{table}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        results=RESULTS,
        arguments=table_arguments,
    shell:
        "python -m sisr tables {wildcards.table} --results {params.results} {params.arguments} > {log} 2>&1"


rule notebook:
    input:
        source=ancient("notebooks/{table}.ipynb"),
        table=RESULTS / "tables/{table}.csv",
        html=RESULTS / "tables/{table}.html",
        figure=RESULTS / "figures/{table}.png",
    output:
        notebook=RESULTS / "notebooks/{table}.ipynb",
        html=report(
            RESULTS / "notebooks/{table}.html",
            category="{table}",
            caption="../report/notebook.rst",
        ),
    log:
        RESULTS / "logs/notebooks/{table}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        results=RESULTS,
    shell:
        "python -m sisr notebook {input.source} {output.notebook} --html {output.html}"
        " --results {params.results} > {log} 2>&1"


rule summary:
    input:
        expand(RESULTS / "tables/{name}.csv", name=NAMES),
        expand(RESULTS / "figures/{name}.png", name=NAMES),
        expand(RESULTS / "notebooks/{name}.html", name=[*NAMES, "what_enla_computes"]),
    output:
        RESULTS / "summary.txt",
    log:
        RESULTS / "logs/summary.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        results=RESULTS,
    shell:
        "COLUMNS=120 python -m sisr tables --show --results {params.results} > {output} 2> {log}"
