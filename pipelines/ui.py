"""The address that `make ui` prints: the list of runs with their verdicts."""

from comptrust.report import entries
from comptrust.tracking import runs, views


def main() -> None:
    """Print the address of the saved view."""
    experiment = runs.experiment_id()
    views.ensure(experiment)
    address = entries.address(f"experiments/{experiment}")
    print(f"Open {address}&viewStateShareKey={views.KEY}")


if __name__ == "__main__":
    main()
