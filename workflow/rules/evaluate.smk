"""Per-image PSNR and SSIM of every run and of the two controls, bicubic and HR."""


rule evaluate:
    input:
        weights=RESULTS.weights("{run}"),
        stores=test_stores,
    output:
        expand(RESULTS.rows("{{run}}", "{set}", "{{scale}}"), set=PLAN.test),
    log:
        RESULTS.log("evaluate", "{run}_x{scale}"),
    wildcard_constraints:
        run=rf"(?!bicubic|hr-|{IMAGES}|(?:{MEASURED})-x[0-9]+/).+",
    conda:
        "../../environment.yml"
    threads: config.get("threads_per_run", 1)
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        gpu=config.get("gpus_per_run", 0),
    params:
        run=subpath(input.weights, parent=True),
        data=evaluated_on,
        folder=subpath(output[0], parent=True),
        device=config.get("device", "auto"),
        greyscale=config.get("greyscale", "as-is"),
    shell:
        "python -m sisr evaluate {params.run} --data {params.data} --scale {wildcards.scale}"
        " --output-dir {params.folder} --device {params.device} --greyscale {params.greyscale} > {log} 2>&1"


rule evaluate_control:
    input:
        control_stores,
    output:
        expand(
            RESULTS.rows("{{control}}-x{{scale}}", "{set}", "{{scale}}"),
            set=PLAN.test,
        ),
    log:
        RESULTS.log("evaluate", "{control}_x{scale}"),
    wildcard_constraints:
        control="bicubic|hr",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        data=test_folders,
        folder=subpath(output[0], parent=True),
        greyscale=config.get("greyscale", "as-is"),
    shell:
        "python -m sisr evaluate {wildcards.control} --data {params.data} --scale {wildcards.scale}"
        " --output-dir {params.folder} --greyscale {params.greyscale} > {log} 2>&1"


rule evaluate_published:
    input:
        weights=published_file,
        stores=control_stores,
    output:
        expand(
            RESULTS.rows("{{method}}-x{{scale}}", "{set}", "{{scale}}"),
            set=PLAN.test,
        ),
    log:
        RESULTS.log("evaluate", "{method}_x{scale}"),
    wildcard_constraints:
        method=MEASURED,
    conda:
        "../../environment.yml"
    threads: config.get("threads_per_run", 1)
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        gpu=config.get("gpus_per_run", 0),
    params:
        data=test_folders,
        folder=subpath(output[0], parent=True),
        device=config.get("device", "auto"),
        greyscale=config.get("greyscale", "as-is"),
        options=published_options,
    shell:
        "python -m sisr evaluate {input.weights:q} --data {params.data} --scale {wildcards.scale} {params.options}"
        " --output-dir {params.folder} --device {params.device} --greyscale {params.greyscale} > {log} 2>&1"


rule evaluate_published_images:
    input:
        images=published_images,
        stores=image_stores,
    output:
        RESULTS.rows(f"{IMAGES}{{method}}-x{{scale}}", "{set}", "{scale}"),
    log:
        RESULTS.log("evaluate", f"{IMAGES}{{method}}_{{set}}_x{{scale}}"),
    wildcard_constraints:
        method="[^/]+",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        images=published_images_folder,
        folder=subpath(output[0], parent=True),
        greyscale=config.get("greyscale", "as-is"),
    shell:
        "python -m sisr evaluate {params.images:q} --data data/prepared/{wildcards.set} --scale {wildcards.scale}"
        " --output-dir {params.folder} --greyscale {params.greyscale} > {log} 2>&1"
