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
        RESULTS / "notebooks/compare.ipynb",
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
        RESULTS / "tables/compare.csv",
        RESULTS / "comparison/summary.txt",
        RESULTS / "comparison.html",
        RESULTS / "notebooks/compare.ipynb",


rule comparison_figures:
    input:
        csv=RESULTS / "tables/compare.csv",
        costs=RESULTS / "comparison/cost_by_size.csv",
    output:
        differences=report(
            RESULTS / "figures/compare_differences.png",
            category="compare",
            caption="../report/compare_differences.rst",
        ),
        pareto=report(
            RESULTS / "figures/compare_pareto.png",
            category="compare",
            caption="../report/compare_pareto.rst",
        ),
        cost=report(
            RESULTS / "figures/compare_cost.png",
            category="compare",
            caption="../report/compare_cost.rst",
        ),
        svg=expand(
            RESULTS / "figures/compare_{name}.svg",
            name=("differences", "pareto", "cost"),
        ),
    log:
        RESULTS / "logs/comparison/figures.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        results=RESULTS,
    shell:
        "python -m sisr comparison-figures --results {params.results} > {log} 2>&1"


rule comparison_crops:
    input:
        csv=RESULTS / "tables/compare.csv",
        runs=compared_weights,
        stores=compared_stores,
    output:
        index=RESULTS / "comparison/crops/index.json",
        png=report(
            RESULTS / "figures/compare_crops.png",
            category="compare",
            caption="../report/compare_crops.rst",
        ),
        svg=RESULTS / "figures/compare_crops.svg",
    log:
        RESULTS / "logs/comparison/crops.log",
    conda:
        "../../environment.yml"
    threads: config.get("threads_per_run", 1)
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
        gpu=config.get("gpus_per_run", 0),
    params:
        results=RESULTS,
        data=test_folders,
        device=config.get("device", "auto"),
    shell:
        "python -m sisr comparison-crops --results {params.results} --data {params.data} --device {params.device}"
        " > {log} 2>&1"


rule comparison_notebook:
    input:
        source="notebooks/compare.ipynb",
        csv=RESULTS / "tables/compare.csv",
        figures=rules.comparison_figures.output,
        crops=rules.comparison_crops.output.png,
    output:
        RESULTS / "notebooks/compare.ipynb",
    log:
        RESULTS / "logs/comparison/notebook.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        results=RESULTS,
    shell:
        "python -m sisr notebook {input.source} {output} --results {params.results} > {log} 2>&1"


rule comparison_page:
    input:
        csv=RESULTS / "tables/compare.csv",
        costs=RESULTS / "comparison/cost_by_size.csv",
        figures=rules.comparison_figures.output,
        crops=rules.comparison_crops.output.index,
    output:
        report(
            RESULTS / "comparison.html",
            category="compare",
            caption="../report/compare_page.rst",
        ),
    log:
        RESULTS / "logs/comparison/page.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        results=RESULTS,
    shell:
        "python -m sisr comparison-page --results {params.results} > {log} 2>&1"
