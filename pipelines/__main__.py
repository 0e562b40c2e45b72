"""`python -m pipelines`, the same as the console script."""

from pipelines.cli import main

main()
