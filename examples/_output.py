"""Where scripts write: never over the results of another run, unless asked to."""
import itertools
from pathlib import Path


def add_output(parser, default, what="folder to write to"):
    """--output and --overwrite."""
    parser.add_argument("--output", type=Path, metavar="PATH", help=f"{what} (default: {default}, or "
                        f"{numbered(default, 2)} and so on if that holds results of another run)")
    parser.add_argument("--overwrite", action="store_true", help="replace the results of another run")


def place_for(args, default, written=()):
    """The folder for files of the names `written`, or without names the file, that the options ask for.

    Raises ValueError if the option names a place that holds results of another run, or no regular file, such as a pipe.
    """
    def files(path):
        return [path / name for name in written] if written else [path]

    path = Path(default) if args.output is None else args.output
    if args.output is None and not args.overwrite:
        return next(place for place in itertools.chain([path], (numbered(path, i) for i in itertools.count(2)))
                    if not any(file.exists() for file in files(place)))
    check_free(files(path), args.overwrite)
    return path


def check_free(paths, overwrite, option="--output"):
    """Raise ValueError for files that may not be written: what another run wrote, devices and pipes."""
    for path in paths:
        if path.exists() and not path.is_file():
            raise ValueError(f"{option} must name a place to write to, but {path} is a folder, a device or a pipe")
        if path.exists() and not overwrite:
            raise ValueError(f"{option} holds results of another run, {path}: give another, or --overwrite to replace "
                             "them")


def numbered(path, i):
    """The same name with a number before its ending."""
    path = Path(path)
    return path.with_name(f"{path.stem}-{i}{path.suffix}")
