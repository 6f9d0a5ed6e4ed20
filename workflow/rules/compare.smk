"""Attention mechanisms beside each other: tried, trained under one recipe, measured, tested, shown."""


rule comparison_cost:
    input:
        compared_code,
    output:
        all=RESULTS / "comparison/cost.csv",
        by_size=RESULTS / "comparison/cost_by_size.csv",
    log:
        RESULTS / "logs/comparison/cost.log",
    conda:
        "../../environment.yml"
    threads: ALL_CORES
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
        gpu=config.get("gpus_per_run", 0),
    params:
        specs=cost_specs,
        sizes=cost_sizes,
        size=config["table4"].get("size", [100, 100]),
        device=config.get("device", "auto"),
    shell:
        "python -m sisr complexity {params.specs} --channels 64 --sizes {params.sizes} --size {params.size}"
        " --seconds 0.5 --device {params.device} --output {output.all} --by-size {output.by_size} > {log} 2>&1"


rule comparison_table:
    input:
        compared_rows,
        costs=rules.comparison_cost.output.all,
    output:
        csv=report(
            RESULTS / "tables/compare.csv",
            category="compare",
            caption="../report/compare_table.rst",
        ),
        md=RESULTS / "tables/compare.md",
        html=report(
            RESULTS / "tables/compare.html",
            category="compare",
            caption="../report/compare_table.rst",
        ),
    log:
        RESULTS / "logs/comparison/table.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        results=RESULTS,
        methods=compared_methods,
    shell:
        "python -m sisr tables compare --results {params.results} {params.methods} --complexity {input.costs}"
        " > {log} 2>&1"


rule comparison_summary:
    input:
        rules.comparison_table.output.csv,
        # the paths of these stand in it
        RESULTS / "comparison.html",
        RESULTS / "notebooks/compare.html",
    output:
        RESULTS / "comparison/summary.txt",
    log:
        RESULTS / "logs/comparison/summary.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        results=RESULTS,
    shell:
        "COLUMNS=120 python -m sisr compare --show --results {params.results} > {output} 2> {log}"


rule compare:
    input:
        RESULTS / "tables/compare.html",
        RESULTS / "comparison/summary.txt",
        RESULTS / "comparison.html",
        RESULTS / "notebooks/compare.html",
