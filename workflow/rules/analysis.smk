"""What ENLA computes: kernel noise, distance from exact attention, attended positions."""

# of the ablation and of the sweep of k, at the ablation's scale
ANALYSED = list(
    dict.fromkeys(
        run.id
        for table in ("table2", "k_sweep")
        for run in PLAN.experiments[table]
        if run.network.attention in declared.paper()["EXPONENTIAL"]
        and run.network.scale == config["table2"]["scale"]
    )
)


rule analyse:
    input:
        runs=expand(
            RESULTS.run("{run}") / "{file}",
            run=ANALYSED,
            file=("weights.safetensors", "config.json", "provenance.json"),
        ),
        stores=stores(PLAN.test[:1], config["table2"]["scale"]),
    output:
        kernel=RESULTS.analysis / "kernel.csv",
        error=RESULTS.analysis / "error.csv",
        attended=RESULTS.analysis / "attended.csv",
        png=report(
            RESULTS.figure("what_enla_computes"),
            category="what_enla_computes",
            caption="../report/analysis.rst",
        ),
        svg=RESULTS.figure("what_enla_computes", "svg"),
    log:
        RESULTS.log("analysis", "analyse"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        results=RESULTS.root,
        runs=shlex.join(ANALYSED),
        data=lambda wildcards, input: Path(input.stores[0]).parent.parent,
        scale=config["table2"]["scale"],
        folder=subpath(output.kernel, parent=True),
    shell:
        "python -m sisr analyse --results {params.results} --runs {params.runs} --data {params.data}"
        " --scale {params.scale} --output {params.folder} > {log} 2>&1"


rule analysis_notebook:
    input:
        source=ancient("notebooks/what_enla_computes.ipynb"),
        kernel=rules.analyse.output.kernel,
        error=rules.analyse.output.error,
        attended=rules.analyse.output.attended,
        figure=rules.analyse.output.png,
    output:
        notebook=RESULTS.notebook("what_enla_computes", "ipynb"),
        html=RESULTS.notebook("what_enla_computes"),
    log:
        RESULTS.log("analysis", "notebook"),
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
