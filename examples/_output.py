"""Where scripts write: never over the results of another run, unless they are asked to."""
from itertools import count
from pathlib import Path


def add_output(parser, default, what="folder to write to"):
    """--output and --overwrite."""
    parser.add_argument("--output", type=Path, metavar="PATH", help=f"{what} (default: {default}, or "
                        f"{numbered(default, 2)} and so on where results of another run are)")
    parser.add_argument("--overwrite", action="store_true", help="replace the results of another run")


def place_for(args, default, written=()):
    """The folder for files of the names `written`, or without any the file, that the options ask for.

    Raises ValueError if results of another run are there, and it was named.
    """
    def is_taken(path):
        return any((path / name).exists() for name in written) if written else path.exists()

    path = Path(default) if args.output is None else args.output
    if args.overwrite or not is_taken(path):
        return path
    if args.output is not None:
        raise ValueError(f"--output {path} holds results of another run: give another, or --overwrite to replace them")
    return next(place for place in (numbered(path, i) for i in count(2)) if not is_taken(place))


def numbered(path, i):
    """The same name with a number before its ending."""
    path = Path(path)
    return path.with_name(f"{path.stem}-{i}{path.suffix}")
