"""Operations, time and memory of the mechanisms, measured sequentially on an otherwise idle machine."""


rule complexity:
    output:
        RESULTS.complexity(),
    log:
        RESULTS.log("complexity", "table4"),
    conda:
        "../../environment.yml"
    threads: ALL_CORES
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
        gpu=config.get("gpus_per_run", 0),
    params:
        mechanisms=shlex.join(PLAN.mechanisms),
        size=config["table4"].get("size", [100, 100]),
        device=config.get("device", "auto"),
    shell:
        "python -m sisr complexity {params.mechanisms} --channels 64 --size {params.size} --device {params.device}"
        " --output {output} > {log} 2>&1"
