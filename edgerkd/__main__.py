"""`python -m edgerkd`, which is also what `torchrun -m edgerkd` starts."""

from edgerkd.cli.app import main

if __name__ == "__main__":
    main()
