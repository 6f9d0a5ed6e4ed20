"""Attention mechanisms beside each other: tried, trained under one recipe, measured, tested, shown."""


rule comparison_cost:
    input:
        compared_code,
    output:
        all=RESULTS.cost,
        by_size=RESULTS.cost_by_size,
    log:
        RESULTS.log("comparison", "cost"),
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


if PLAN.comparison and PLAN.comparison.rates:

    use rule evaluate as validate with:
        input:
            weights=RESULTS.weights("{run}"),
            stores=validation_stores,
        output:
            expand(
                RESULTS.validation("{{run}}") / "{set}_x{{scale}}.csv",
                set=PLAN.comparison.validation,
            ),
        log:
            RESULTS.log("validate", "{run}_x{scale}"),
        params:
            run=subpath(input.weights, parent=True),
            data=validation_folders,
            folder=subpath(output[0], parent=True),
            device=config.get("device", "auto"),
            greyscale=config.get("greyscale", "as-is"),

    # which runs are evaluated on the test sets is known after it
    checkpoint comparison_choice:
        input:
            validation_rows,
            stores=compared_stores,
        output:
            table=RESULTS.learning_rates,
        log:
            RESULTS.log("comparison", "choice"),
        conda:
            "../../environment.yml"
        resources:
            mem_mb=growing(2000),
            runtime=growing(10),
        params:
            results=RESULTS.root,
            candidates=candidates,
        shell:
            "python -m sisr compare choose --results {params.results} {params.candidates} > {log} 2>&1"


rule comparison_table:
    input:
        compared_rows,
        chosen_rates,
        costs=rules.comparison_cost.output.all,
    output:
        csv=report(
            RESULTS.table("compare"),
            category="compare",
            caption="../report/compare_table.rst",
        ),
        md=RESULTS.table("compare", "md"),
    log:
        RESULTS.log("comparison", "table"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        results=RESULTS.root,
        methods=compared_methods,
    shell:
        "python -m sisr tables compare --results {params.results} {params.methods} --complexity {input.costs}"
        " > {log} 2>&1"


rule comparison_summary:
    input:
        rules.comparison_table.output.csv,
        # the paths of these stand in it
        RESULTS.comparison_page,
        RESULTS.notebook("compare", "ipynb"),
    output:
        RESULTS.comparison_summary,
    log:
        RESULTS.log("comparison", "summary"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        results=RESULTS.root,
    shell:
        "COLUMNS=120 python -m sisr compare --show --results {params.results} > {output} 2> {log}"


rule compare:
    input:
        RESULTS.table("compare"),
        RESULTS.comparison_summary,
        RESULTS.comparison_page,
        RESULTS.notebook("compare", "ipynb"),


rule comparison_figures:
    input:
        csv=RESULTS.table("compare"),
        costs=RESULTS.cost_by_size,
    output:
        differences=report(
            RESULTS.figure("compare_differences"),
            category="compare",
            caption="../report/compare_differences.rst",
        ),
        pareto=report(
            RESULTS.figure("compare_pareto"),
            category="compare",
            caption="../report/compare_pareto.rst",
        ),
        cost=report(
            RESULTS.figure("compare_cost"),
            category="compare",
            caption="../report/compare_cost.rst",
        ),
        svg=expand(
            RESULTS.figure("compare_{name}", "svg"),
            name=("differences", "pareto", "cost"),
        ),
    log:
        RESULTS.log("comparison", "figures"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        results=RESULTS.root,
    shell:
        "python -m sisr compare figures --results {params.results} > {log} 2>&1"


rule comparison_crops:
    input:
        csv=RESULTS.table("compare"),
        runs=compared_weights,
        stores=compared_stores,
    output:
        index=RESULTS.crops / "index.json",
        png=RESULTS.figure("compare_crops"),
        svg=RESULTS.figure("compare_crops", "svg"),
    log:
        RESULTS.log("comparison", "crops"),
    conda:
        "../../environment.yml"
    threads: config.get("threads_per_run", 1)
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
        gpu=config.get("gpus_per_run", 0),
    params:
        results=RESULTS.root,
        data=test_folders,
        device=config.get("device", "auto"),
    shell:
        "python -m sisr compare crops --results {params.results} --data {params.data} --device {params.device}"
        " > {log} 2>&1"


rule comparison_notebook:
    input:
        source=ancient("notebooks/compare.ipynb"),
        csv=RESULTS.table("compare"),
        figures=rules.comparison_figures.output,
        crops=rules.comparison_crops.output.png,
    output:
        RESULTS.notebook("compare", "ipynb"),
    log:
        RESULTS.log("comparison", "notebook"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        results=RESULTS.root,
    shell:
        "python -m sisr notebook {input.source} {output} --results {params.results} > {log} 2>&1"


rule comparison_page:
    input:
        csv=RESULTS.table("compare"),
        costs=RESULTS.cost_by_size,
        figures=rules.comparison_figures.output,
        crops=rules.comparison_crops.output.index,
    output:
        RESULTS.comparison_page,
    log:
        RESULTS.log("comparison", "page"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        results=RESULTS.root,
    shell:
        "python -m sisr compare page --results {params.results} > {log} 2>&1"


rule leaderboard_cost:
    input:
        compared_code if PLAN.comparison else [],
        leaderboard_rows,
    output:
        RESULTS.leaderboard_cost,
    log:
        RESULTS.log("leaderboard", "cost"),
    conda:
        "../../environment.yml"
    threads: ALL_CORES
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
        gpu=config.get("gpus_per_run", 0),
    params:
        results=RESULTS.root,
        mechanisms=leaderboard_mechanisms,  # what is measured: a new one is a reason to do so again
        sizes=leaderboard_sizes,
        device=config.get("device", "auto"),
    shell:
        "python -m sisr leaderboard cost --results {params.results} --sizes {params.sizes} --device {params.device}"
        " > {log} 2>&1"


# without an output: a page that was made by hand does not count as this call's, which may add rows
rule leaderboard:
    input:
        leaderboard_rows,
        costs=rules.leaderboard_cost.output,
    log:
        RESULTS.log("leaderboard", "page"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        results=RESULTS.root,
    shell:
        "python -m sisr leaderboard --results {params.results} > {log} 2>&1"
