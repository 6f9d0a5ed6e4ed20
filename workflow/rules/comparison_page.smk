"""What people see of a comparison: figures, crops, the notebook, and one page to mail."""


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
        source=ancient("notebooks/compare.ipynb"),
        csv=RESULTS / "tables/compare.csv",
        html=RESULTS / "tables/compare.html",
        figures=rules.comparison_figures.output,
        crops=rules.comparison_crops.output.png,
    output:
        notebook=RESULTS / "notebooks/compare.ipynb",
        html=report(
            RESULTS / "notebooks/compare.html",
            category="compare",
            caption="../report/compare_notebook.rst",
        ),
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
        "python -m sisr notebook {input.source} {output.notebook} --html {output.html}"
        " --results {params.results} > {log} 2>&1"


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
