"""`python -m sisr crops`: crops of test images, several methods side by side."""

import argparse
from pathlib import Path
from typing import Any

from sisr.cli import arguments

HELP = "show crops of test images for several methods side by side, with PSNR and SSIM"
EXAMPLE = (
    "python -m sisr crops data/prepared/Urban100 --scale 4 -o crops.png \\\n"
    "    --method results/paper/runs/edsr-x4-* ENLCN=ENLCAx4.pt SAN=downloads/SAN/Urban100\n"
    "  python -m sisr crops data/prepared/Set5 --scale 4 --at butterfly:90,110 --size 64 --method LapSRN_x4.npz"
)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("set", type=Path, metavar="SET", help="a prepared set, or a folder of HR images")
    add(
        "--method",
        nargs="*",
        default=[],
        metavar="WHAT",
        help="run folders, weights files, folders of SR images, as in `evaluate`; LABEL=WHAT sets a label. "
        "HR and bicubic are always included",
    )
    add("--scale", type=int, default=4, help="upscaling factor (default: 4)")
    add(
        "--at",
        nargs="+",
        default=[],
        metavar="IMAGE:X,Y",
        help="top-left corners of crops in HR pixels (default: for Urban100 at x4 those of the paper's Figure 5, "
        "else for each image the crop with the largest error of bicubic)",
    )
    add(
        "--images",
        type=arguments.whole(1),
        default=6,
        metavar="N",
        help="maximum number of images without --at (default: 6)",
    )
    add(
        "--size",
        type=arguments.whole(1),
        metavar="N",
        help="side of a crop in HR pixels (default: 80, or less for small images)",
    )
    add(
        "-o",
        "--output",
        type=Path,
        nargs="+",
        metavar="FILE",
        help=".png, .svg or .pdf (default: <set>_x<scale>_crops.png)",
    )
    arguments.add_device(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    from math import isfinite

    from sisr.data.pairs import open_pairs, set_name
    from sisr.evaluation import crops
    from sisr.report.figures import check_endings, save_as, style
    from sisr.report.figures import crops as figure
    from sisr.report.tables.view import training_banner
    from sisr.utils.files import check_writable

    arguments.check_scale(args.scale)
    output = args.output or [Path(f"{set_name(args.set)}_x{args.scale}_crops.png")]
    check_endings(output)
    for path in output:
        check_writable(path)
    pairs = open_pairs(args.set, args.scale)
    size = args.size or crops.fitting(pairs, args.scale)
    methods, runs = crops.open_methods(args.method, args.scale, args.device)
    places = crops.chosen(pairs, args.at, size) or crops.of_paper(pairs, args.scale, size)[: args.images]
    places = places or crops.hardest(pairs, args.scale, args.images, size)
    rows = crops.collect(pairs, args.scale, methods, places, size)
    note = (
        f"{pairs.name} x{args.scale}, crops of {size} x {size} HR pixels. Under each: PSNR and SSIM on Y "
        "(protocol P1) of the whole image, and below of the crop alone."
    )
    for label, method in methods.items():
        if getattr(method, "unrounded_lr", False):
            note += f" {label} gets LR that was never rounded, as its authors test it."
    with style.settings():
        drawn = figure.draw(rows, *training_banner(runs), note)
    files = save_as(drawn, output)

    def number(value: float | None) -> float | str | None:
        return value if value is None or isfinite(value) else str(value)

    measured = [
        {
            "image": row.image,
            "x": row.box[0],
            "y": row.box[1],
            "size": size,
            "chosen": row.caption,
            "method": panel.label,
            "psnr": number(panel.psnr),
            "ssim": panel.ssim,
            "crop_psnr": number(panel.crop_psnr),
            "crop_ssim": panel.crop_ssim,
        }
        for row in rows
        for panel in row.panels
        if panel.psnr is not None
    ]
    if not args.json:
        for each in measured:
            print(
                f"{each['image']} {each['method']}: {each['psnr']:.2f} dB, SSIM {each['ssim']:.4f}; "
                f"crop at {each['x']},{each['y']}: {each['crop_psnr']:.2f} dB"
                if isinstance(each["psnr"], float) and isinstance(each["crop_psnr"], float)
                else f"{each['image']} {each['method']}: the same as HR"
            )
        print("\n".join(map(str, files)))
    return {"set": pairs.name, "scale": args.scale, "crops": measured, "files": list(map(str, files))}
