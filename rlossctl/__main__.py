"""`python -m rlossctl`."""

from rlossctl.cli import main

main()
