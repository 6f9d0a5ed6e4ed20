"""`python -m sisr fetch`: get image sets onto the disk."""

import argparse
from pathlib import Path

from sisr.cli import arguments

HELP = "download image sets and verify every image"
EXAMPLE = (
    "python -m sisr fetch photographs photographs-test\n"
    "  python -m sisr fetch Set5 Set14 B100 Urban100\n"
    "  python -m sisr fetch Urban100 --from ~/Downloads/Urban100_SR.zip\n"
    "  python -m sisr fetch --list\n"
    "  python -m sisr fetch --check Set5"
)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="set of data/datasets.yaml, e.g. Set5")
    arguments.add_data(parser)
    arguments.add_origin(parser, "use an existing folder or archive in any common layout")
    add(
        "--lr",
        type=arguments.whole(2, 16),
        nargs="+",
        default=[],
        metavar="SCALE",
        help="also download published LR images (DIV2K)",
    )
    add("--again", action="store_true", help="replace an existing set")
    add("--list", action="store_true", help="list all sets with licence and state")
    add("--check", action="store_true", help="ask every source of the named sets, or of all, without downloading")
    add("--catalogue", type=Path, help="another catalogue than data/datasets.yaml")


def run(args: argparse.Namespace) -> list[dict]:
    from sisr.data import catalog
    from sisr.data.fetch import fetch
    from sisr.utils.errors import UsageError

    catalogue = args.catalogue or catalog.CATALOGUE
    if args.list:
        return _list(args, catalog.known(catalogue))
    if args.check:
        names = args.names or list(catalog.known(catalogue))
        return _check(args, [catalog.find(name, catalogue) for name in names])
    if not args.names:
        raise UsageError("name a set; `python -m sisr fetch --list` lists all.")
    if args.origin is not None and len(args.names) > 1:
        raise UsageError("--from accepts one set at a time.")
    result = []
    for dataset in [catalog.find(name, catalogue) for name in args.names]:
        if not args.json:
            print(f"{dataset.name}: {dataset.terms}", flush=True)
        got = fetch(dataset, args.data, origin=args.origin, lr=args.lr, again=args.again, quiet=args.json)
        result.append(
            {
                "name": dataset.name,
                "folder": str(got.folder),
                "images": len(got.report.found),
                "checked": got.report.checked,
                "from": got.came_from,
                "lr": got.lr,
                "notes": got.notes,
                "licence": dataset.licence,
            }
        )
        if not args.json:
            print(f"{got.report}, in {got.folder} ({got.came_from})")
            for scale, origin in got.lr.items():
                print(f"  LR x{scale}: {origin}")
            for note in got.report.notes:
                print(f"  note: {note}")
    return result


def _check(args: argparse.Namespace, sets: list) -> list[dict]:
    """One line a source; the exit status is 1 where a set that can be downloaded has no source that answers."""
    from sisr.data import sources

    answers = sources.ask(sets)
    for dataset in sets:
        own = [answer for answer in answers if answer.dataset == dataset.name]
        hr = [answer for answer in own if answer.source in dataset.sources]
        if not args.json:
            how = "on request" if dataset.apply else "included in scikit-image" if dataset.bundled else ""
            print("\n".join(map(str, own)) if own else f"{dataset.name:<13} {how}", flush=True)
        if hr and not any(answer.works for answer in hr):
            args.exit_status = 1
    return [
        {
            "name": answer.dataset,
            "archive": answer.source.archive,
            "address": answer.address,
            "answers": answer.works,
            "bytes": answer.bytes,
            "error": answer.error or None,
            "reported_dead": answer.source.dead or None,
        }
        for answer in answers
    ]


def _list(args: argparse.Namespace, sets: dict) -> list[dict]:
    from sisr.data.image_files import list_images

    result = []
    for dataset in sets.values():
        folder = dataset.folder(args.data) / "HR"
        there = len(list_images(folder)) if folder.is_dir() else 0
        result.append(
            {
                **{name: getattr(dataset, name) for name in ("name", "title", "role", "images", "megabytes")},
                **{name: getattr(dataset, name) for name in ("licence", "terms", "homepage", "layout")},
                "there": there,
                "scales": list(dataset.scales),
                "apply": dataset.apply.strip() or None,
                "traps": list(dataset.traps),
            }
        )
        if not args.json:
            how = "on request" if dataset.apply else "no download" if dataset.bundled else f"{dataset.megabytes:,} MB"
            print(f"{dataset.name:<18}{there:>4} of {dataset.images:<4}{how:<14}{dataset.title}")
            print(f"{'':<41}{dataset.licence}")
    return result
