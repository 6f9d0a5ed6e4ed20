"""Image sets: download, verification, decoding."""


rule fetch:
    output:
        "data/verified/{set}.json",
    log:
        SHARED.log("fetch", "{set}"),
    retries: 2
    localrule: True  # compute nodes often have no internet access
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(240),
        download=1,  # several sets share one archive
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
    priority: 1  # validation sets must exist when the first training run starts
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
