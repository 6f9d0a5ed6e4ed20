"""`python -m sisr attention-map`: where the attention of a network looks from one position of an image."""

import argparse
from pathlib import Path
from typing import Any

from sisr.cli import arguments

HELP = "plot what a position of an image attends to, for one or several trained networks"
EXAMPLE = (
    "python -m sisr attention-map data/prepared/photographs-test:astronaut --at 128,370 \\\n"
    "    --run results/quick/runs/edsr-x4-nla-s0-* results/quick/runs/enlcn-x4-k6-m128-s0-* -o map.png\n"
    "  python -m sisr attention-map butterfly.png --reduce --at 118,118 --run ENLCAx4.pt --slot first last"
)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "image",
        metavar="IMAGE",
        help="an LR image as a file, or SET:NAME for an image of a prepared set or a folder, such as "
        "data/prepared/Set5:baby; SET: is its first image",
    )
    add(
        "--at",
        metavar="X,Y",
        help="marked pixel, counted from 0 at the top left: of IMAGE itself, and of HR for SET:NAME "
        "(default: the strongest contrast)",
    )
    add("--reduce", action="store_true", help="IMAGE is an HR file: it is reduced by the networks' scale")
    add(
        "--run",
        dest="runs",
        nargs="+",
        required=True,
        metavar="RUN",
        help="run folders or weights files of one scale; LABEL=RUN sets a label",
    )
    add("--scale", type=int, help="upscaling factor of all networks (default: that of the first)")
    add("--slot", nargs="+", default=[], metavar="N", help="slots, or first, last, all (default: last)")
    add("--over", choices=["k"], help="k: one column an amplification factor, one row a mechanism, as in Figure 7")
    add(
        "--k",
        type=arguments.number(above=True),
        nargs="+",
        default=[],
        metavar="K",
        help="rescale query and key to these amplification factors (default: as trained)",
    )
    add("--estimate", action="store_true", help="also plot the weights of ENLA's random features")
    add("--skip", action="store_true", help="skip networks whose mechanism provides no attention map")
    add(
        "-o",
        "--output",
        type=Path,
        nargs="+",
        metavar="FILE",
        help=".png, .svg or .pdf (default: <image>_attention.png)",
    )
    add("--raw", type=Path, metavar="FILE", help="also write the weights: .npy (maps, H, W) or .csv")
    arguments.add_device(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    from sisr.analysis.attention_maps import figure, layout, picture, raw_file
    from sisr.analysis.attention_maps import maps as look
    from sisr.evaluation import inference
    from sisr.report.figures import check_endings, save_as, style
    from sisr.report.tables.view import training_banner
    from sisr.utils.files import check_writable

    check_endings(args.output or [])
    if args.raw:
        raw_file.check(args.raw)
    for path in [*(args.output or []), *([args.raw] if args.raw else [])]:
        check_writable(path)
    if not args.output:
        check_writable(Path(), folder=True)
    device = inference.device(args.device)
    networks, skipped = look.open_sources(args.runs, args.scale, args.skip)
    image = picture.open_picture(args.image, networks[0].scale, args.reduce)
    at = picture.parse_position(args.at) if args.at else image.contrast()
    position = image.position(*at)
    maps = []
    for network in networks:
        network.model.to(device)
        for estimate in (False, True) if args.estimate and network.random_features else (False,):
            for k in args.k or [None]:
                maps += look.look(network, image, position, args.slot, k, estimate)
        network.model.cpu()
    lines = layout.over_k(maps) if args.over else layout.by_slot(maps)
    note = " ".join([layout.note(image, at, maps), *skipped])
    with style.settings():
        drawn = figure.draw(image.shown, at, lines, image.name, *training_banner([n.run for n in networks]), note)
    files = save_as(drawn, args.output or [Path(f"{image.name}_attention.png")])
    if args.raw:
        files.append(raw_file.write(maps, args.raw))
    if not args.json:
        print("\n".join([*layout.summary(maps), *skipped, *map(str, files)]))
    return {
        "image": image.name,
        "at": list(at),
        "of": image.kind,
        "lr_position": list(position),
        "maps": [
            {
                "label": layout.name(each),
                "run": str(each.source.path),
                "slot": each.slot,
                "k": each.k,
                "estimate": each.estimate,
                "near": each.near,
                "near_if_even": each.near_if_even,
                "effective_positions": each.effective,
                "positions": each.weights.size,
            }
            for each in maps
        ],
        "skipped": skipped,
        "files": [str(file) for file in files],
    }
