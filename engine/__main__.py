"""The command line: `python -m engine --help`.

Tables for people go to standard output; with --json one JSON object and nothing else. Progress goes to standard error.
Exit code 0: done; 2: bad arguments or input, with one sentence; 1: failure or interruption.
"""

from __future__ import annotations

import os
import sys

from rich.console import Console

from engine.cli.arguments import parse
from engine.values import Cancelled, InputError


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    # Of torchrun's processes on a machine, which all stumble over the same, one says so.
    errors = Console(stderr=True, quiet=os.environ.get("LOCAL_RANK", "0") != "0")
    try:
        arguments.run(arguments)
    except InputError as error:
        errors.print(str(error), style="bold red", highlight=False, markup=False, soft_wrap=True)
        return 2
    except (KeyboardInterrupt, Cancelled):
        errors.print("Stopped; what was finished is kept, the same command with --resume goes on from it.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
