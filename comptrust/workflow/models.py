"""The folder of a dense model that the registry holds."""

from comptrust import config
from comptrust.tracking import registry


def local_model(name: str) -> str:
    """Return the folder of a registered `models:/NAME/VERSION`, downloading it if necessary.

    Any other name is returned as it is, for `models.sources` to resolve.
    """
    if not name.startswith("models:/"):
        return name
    version = registry.resolve(name)
    artifact = version.source.rsplit("/", 1)[-1]
    folder = config.cache_dir() / "registry" / f"{version.name}-{version.version}-{artifact}"
    folder.mkdir(parents=True, exist_ok=True)
    return str(registry.download(version.ref, into=folder))
