"""The measuring chain against figures from outside, where `reference_data` names the folder that has them."""


def reference_data(wildcards):
    if "reference_data" not in config:
        raise WorkflowError(
            "the checks need third parties' images, figures and weights; name their folder: --config reference_data=DIR"
        )
    return config["reference_data"]


rule checks:
    input:
        "results/published/checks.csv",
        reference=reference_data,
    output:
        # the committed page stays until it is replaced
        update("docs/checks.md"),
    log:
        "results/logs/checks.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4000,
        runtime=60,
    shell:
        "python -m sisr checks --reference {input.reference:q} --output {output} > {log} 2>&1"
