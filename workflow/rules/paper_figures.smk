"""The paper's Figures 1, 5 and 7: attention maps, crops side by side, and attention over k."""

PDF = str(RESULTS.figure("{wildcards.figure}", "pdf"))


rule attention_figure:
    input:
        runs=visual_runs,
        stores=visual_stores,
    output:
        png=RESULTS.figure("{figure}"),
        svg=RESULTS.figure("{figure}", "svg"),
        weights=RESULTS.figure("{figure}", "npy"),
    log:
        RESULTS.log("figures", "{figure}"),
    wildcard_constraints:
        figure="figure1|figure7",
    conda:
        "../../environment.yml"
    threads: config.get("threads_per_run", 1)
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
        gpu=config.get("gpus_per_run", 0),
    params:
        image=visual_image,
        runs=visual_methods,
        view=visual_view,
        device=config.get("device", "auto"),
    shell:
        "python -m sisr attention-map {params.image} --run {params.runs} {params.view} --skip"
        " --output {output.png} {output.svg} "
        + PDF
        + " --raw {output.weights} --device {params.device} > {log} 2>&1"


rule crops_figure:
    input:
        runs=visual_runs,
        stores=visual_stores,
    output:
        png=RESULTS.figure("{figure}"),
        svg=RESULTS.figure("{figure}", "svg"),
    log:
        RESULTS.log("figures", "{figure}"),
    wildcard_constraints:
        figure="figure5",
    conda:
        "../../environment.yml"
    threads: config.get("threads_per_run", 1)
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
        gpu=config.get("gpus_per_run", 0),
    params:
        data=visual_set,
        scale=visual_scale,
        methods=visual_methods,
        device=config.get("device", "auto"),
    shell:
        "python -m sisr crops {params.data} --scale {params.scale} --method {params.methods}"
        " --output {output.png} {output.svg} "
        + PDF
        + " --device {params.device} > {log} 2>&1"
