"""`python -m comptrust`, the same as the console script."""

from comptrust.cli.main import main

main()
