"""``asya`` and ``python -m asya_cli``: runs the command tree, prints what went wrong once, gives the exit code."""

import os
import sys
import traceback

import click

from asya_cli.errors import Interrupted
from asya_cli.exit_codes import ExitCode, exit_code_of
from asya_cli.main import asya
from asya_cli.output import Talk
from asya_core.wire.errors import AsyaError, Bug, RemoteFault

__all__ = ["main"]


def main() -> None:
    """Entry point of the console script."""
    talk = Talk()
    try:
        sys.exit(int(asya.main(prog_name="asya", standalone_mode=False, obj=talk) or ExitCode.DONE))
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "asya"
        talk.error(RemoteFault("usage", error.format_message(), f'see "{path} --help"'))
        sys.exit(ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        talk.error(Interrupted("interrupted", "Interrupted by SIGINT", "nothing was running yet"))
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read stdout has gone; nothing is left to say to it, not even at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(ExitCode.NO)
    except AsyaError as error:
        if isinstance(error, Bug):
            traceback.print_exc()
        talk.error(error)
        sys.exit(exit_code_of(error))
    except Exception as error:
        traceback.print_exc()
        talk.error(Bug("bug", f"Unexpected {type(error).__name__}: {error}", "this is a fault of asya's own; please report it"))
        sys.exit(ExitCode.BUG)


if __name__ == "__main__":
    main()
