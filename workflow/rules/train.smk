"""Training: one job for each network."""


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
        # Slurm sends a signal two minutes before the time limit, so that the run can write a checkpoint;
        # the next attempt resumes from it
        slurm_extra="--signal=TERM@120",
        gpu=config.get("gpus_per_run", 0),
    # Snakemake compares these with what it recorded: other words for the same run would train it again
    params:
        arguments=training_arguments,
        folder=subpath(output[0], parent=True),
        device=config.get("device", "auto"),
    # exec: the signal must reach the training process, not a shell that would end before the checkpoint is written
    shell:
        "exec python -m sisr train {params.arguments} --output {params.folder} --device {params.device}"
        " --threads {threads} $SISR_WATCH > {log} 2>&1"
