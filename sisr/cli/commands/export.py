"""`python -m sisr export`: a network as an ONNX file."""

import argparse
from pathlib import Path
from typing import Any

HELP = "export a trained or published network to ONNX, for images of any size"
EXAMPLE = "python -m sisr export results/quick/runs/enlcn-x4-k6-m128-s0-1f3a9c2e -o enlcn.onnx"


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("weights", metavar="FILE_OR_RUN", help="weights file, run folder, or pretrained")
    add("-o", "--output", type=Path, metavar="FILE.onnx", help="default: the name of the weights or of the run")
    add("--network", metavar="FILE.py:CLASS", help="a network of your own that the weights belong to")
    add("--scale", type=int, help="upscaling factor, for weights that serve all scales, and for pretrained")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from sisr.evaluation.onnx_export import CHECKED, OPSET, export, packages
    from sisr.evaluation.upscalers import load, pretrained, weights_of
    from sisr.utils.errors import SisrError, UsageError
    from sisr.utils.files import check_writable

    packages()
    chosen = pretrained(args.scale or 4) if args.weights == "pretrained" else Path(args.weights)
    weights = weights_of(chosen)
    if weights is None:
        raise SisrError(f"{args.weights} is neither a weights file nor a run folder with weights.safetensors.")
    output = args.output or Path(chosen.name if chosen.is_dir() else chosen.stem).with_suffix(".onnx")
    if output.suffix.lower() != ".onnx":
        raise UsageError(f"--output must end with .onnx, but it is {output}.")
    check_writable(output)
    model = load(weights, args.scale, args.network)
    if args.scale not in (None, model.scale):
        raise UsageError(f"{weights} upscales x{model.scale}, not x{args.scale}.")
    found = export(model, output)
    if not args.json:
        sizes = ", ".join(f"{height} x {width}" for height, width in CHECKED)
        print(f"{output}: opset {OPSET}, float32; onnxruntime equals PyTorch to {found.difference:.1g} at {sizes}.")
        if found.formulas == "reference":
            print("Attention is exported by its reference implementation, which may be slower and need more memory.")
    return {
        "file": str(output), "opset": OPSET, "scale": int(model.scale), "difference": found.difference,
        "formulas": found.formulas,
    }  # fmt: skip
