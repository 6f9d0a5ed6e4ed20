"""Validation of the metrics with reference data (`reference_data` in the preset)."""


rule checks:
    input:
        "results/published/checks.csv",
        reference=reference_data,
    output:
        # the committed page is kept until it is replaced
        update("docs/checks.md"),
    log:
        SHARED.log("checks"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    shell:
        "python -m sisr reference-checks --reference {input.reference:q} --output {output} > {log} 2>&1"
