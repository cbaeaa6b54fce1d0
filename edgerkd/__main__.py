"""`edgerkd`, `python -m edgerkd`, and what `torchrun -m edgerkd` starts."""

import sys


def main() -> None:
    """Run the command line. Imports can be interrupted too: then there is one line, and exit code 130."""
    try:
        from edgerkd.cli.main import main as run
        from edgerkd.cli.main import own_stdout
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    own_stdout()
    run()


if __name__ == "__main__":
    main()
