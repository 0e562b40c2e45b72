"""The end of `make demo`: what happened to the two models, and where MLflow shows it."""

from comptrust.report import entries
from comptrust.tracking import registry, runs

MODEL = "smollm2-135m-instruct"
RECIPES = ("rtn-8bit-g64-s0", "magnitude-2of4-s0")


def main() -> None:
    """Print the verdict on each of the two models, the drops behind it, and a link."""
    versions = {version.tags.get("recipe"): version for version in registry.versions(MODEL)}
    print("\nOne model, compressed in two ways, asked what its dense source was asked:")
    for recipe in RECIPES:
        version = versions[recipe]
        verdict = runs.read_json(version.run_id, "verdict.json")
        [drops] = [found for found in verdict["findings"] if found["rule"] == "max_drop"]
        print(f"\n{recipe}: {version.tags['verdict'].upper()}\n  {drops['reason']}")
        print(f"  {entries.address(f'models/{MODEL}/versions/{version.version}')}")
    print("\n'make ui' shows the pages.")


if __name__ == "__main__":
    main()
