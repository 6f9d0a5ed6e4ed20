"""The measuring chain against figures from outside, where `reference_data` names the folder that has them."""


rule checks:
    input:
        "results/published/checks.csv",
        reference=reference_data,
    output:
        # the committed page stays until it is replaced
        update("docs/checks.md"),
    log:
        SHARED.log("checks"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    shell:
        "python -m sisr checks --reference {input.reference:q} --output {output} > {log} 2>&1"
