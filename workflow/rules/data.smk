"""Photographs: fetched, verified, decoded."""


rule fetch:
    output:
        "data/verified/{set}.json",
    log:
        SHARED.log("fetch", "{set}"),
    retries: 2
    localrule: True  # nodes of a cluster often have no way out
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(240),
        download=1,  # several sets come out of one archive
    shell:
        "python -m sisr fetch {wildcards.set} --json > {output} 2> {log}"


rule prepare:
    input:
        set_source,
    output:
        "data/prepared/{set}/{store}/index.json",
        "data/prepared/{set}/{store}/pixels.bin",
    log:
        SHARED.log("prepare", "{set}_{store}"),
    priority: 1  # sets that trainings only watch are there when the first one begins
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        source=set_argument,
        store=store_argument,
        folder=subpath(output[0], parent=True),
    shell:
        "python -m sisr prepare {params.source} --scale {params.store} --output {params.folder} > {log} 2>&1"
