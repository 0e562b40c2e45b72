"""The option --recipe: a YAML file that sets the defaults of the other options."""

from pathlib import Path

import click

from comptrust import config
from comptrust.errors import UserError, unknown

FOLDER = config.SHIPPED / "recipes"


def shipped() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(name: str, options: set[str]) -> dict[str, object]:
    """Read a shipped recipe or a YAML file.

    Raises UserError naming the file and the key that is not an option.
    """
    path = FOLDER / f"{name}.yaml" if name in shipped() else Path(name)
    if not path.exists():
        if path.suffix in (".yaml", ".yml"):
            raise UserError(f"There is no recipe file {path}.")
        raise unknown("recipe", name, shipped())
    data = config.read_yaml(path)
    if not isinstance(data, dict):
        raise UserError(f"{path} must hold 'option: value' lines.")
    for key in data:
        if key not in options:
            raise unknown(f"option in {path}:", key, options)
    return {key: value for key, value in data.items() if value is not None}


def _defaults(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value:
        options = {str(option.name) for option in ctx.command.params if option is not param}
        ctx.default_map = read(value, options)


recipe_option = click.option(
    "--recipe",
    is_eager=True,
    expose_value=False,
    callback=_defaults,
    help="Shipped recipe or YAML file that sets the options below; options given here override it.",
)
