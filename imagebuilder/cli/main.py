"""The command ``imagebuilder``: signals, exit status."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from imagebuilder.cli import command_line, completion
from imagebuilder.cli.ci_log import log_of
from imagebuilder.cli.context import Context
from imagebuilder.cli.output import Output
from imagebuilder.errors import ImageBuilderError
from imagebuilder.progress import Cancel


def entry() -> None:
    """Run as a program."""
    status = main(sys.argv[1:])
    # What is left goes with the process: looking through it once more, for circles, takes longer
    # than planning a hundred recipes.
    gc.freeze()
    sys.exit(status)


def main(argv: Sequence[str]) -> int:
    """Run a command line; return its exit status."""
    parser = command_line.parser()
    completion.answer(parser)
    args = parser.parse_args(argv)
    out = Output(
        as_json=args.json,
        quiet=getattr(args, "question", False),
        ci_log=log_of(os.environ, Path(args.directory)),
    )
    cancel = Cancel()
    _stop_on_signals(cancel, silent=args.json or out.quiet)
    context = Context(args=args, out=out, cancel=cancel)
    try:
        status: int = args.verb(context)
    except ImageBuilderError as error:
        out.close()
        out.error(error)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output is gone; what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    finally:
        out.close()
    return status


def _stop_on_signals(cancel: Cancel, *, silent: bool) -> None:
    """Let the first signal ask to stop in good order, and the second stop at once."""

    def stop(number: int, _frame: object) -> None:
        if cancel.is_set:
            raise KeyboardInterrupt
        cancel.set(f"stopped by {signal.Signals(number).name}")
        if not silent:
            # Written past the output's lock, which the interrupted code may be holding.
            os.write(2, b"\nstopping, and clearing up...\n")

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, stop)
