"""Networks, each trained once."""


rule train:
    input:
        training_stores,
        training_code,
        training_start,
    output:
        RESULTS.run("{run}") / "config.json",
        RESULTS.weights("{run}"),
        RESULTS.run("{run}") / "train.csv",
        RESULTS.run("{run}") / "provenance.json",
    log:
        RESULTS.log("train", "{run}"),
    benchmark:
        RESULTS.benchmark("train", "{run}")
    retries: RETRIES
    conda:
        "../../environment.yml"
    threads: config.get("threads_per_run", 1)
    resources:
        mem_mb=growing(8000),
        runtime=2880,
        # Slurm asks it to stop two minutes before its time is over, and leaves it that long to write its checkpoint;
        # the next attempt goes on from there
        slurm_extra="--signal=TERM@120",
        gpu=config.get("gpus_per_run", 0),
    params:
        arguments=training_arguments,
        folder=subpath(output[0], parent=True),
        device=config.get("device", "auto"),
    # exec: a signal reaches the training and no shell around it that would end before its checkpoint is written
    shell:
        "exec python -m sisr train {params.arguments} --output {params.folder} --device {params.device}"
        " --threads {threads} $SISR_WATCH > {log} 2>&1"
