"""``edgehaul pack``: pack a verified model as one bundle."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from edgehaul_tools.pack.pack import Label, pack_directory

_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("directory", type=_PATH)
@click.option("--name", required=True, help="Name of the model on the device.")
@click.option("--version", required=True, help="Semantic version, such as 1.0.0.")
@click.option("--out", type=_FILE, required=True, help="Bundle file to write (.edgehaul).")
@click.option("--device-type", "device_types", multiple=True, help="May be given again.")
@click.option("--golden", type=_PATH, help="Inputs for the golden cases.")
@click.option("--model-licence", default="", help="SPDX name.")
@click.option("--data-licence", default="", help="SPDX name.")
@click.option("--unverified", is_flag=True, help="Pack without a passed verification.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
def pack(  # noqa: PLR0913, PLR0917 - one for each option
    directory: Path,
    name: str,
    version: str,
    out: Path,
    device_types: tuple[str, ...],
    golden: Path | None,
    model_licence: str,
    data_licence: str,
    *,
    unverified: bool,
    as_json: bool,
) -> None:
    """Pack a model DIRECTORY that passed ``edgehaul verify`` as one bundle."""
    label = Label(name, version, device_types, model_licence, data_licence)
    manifest = pack_directory(directory, out, label, golden=golden, unverified=unverified)
    if as_json:
        click.echo(msgspec.json.encode(manifest))
        return
    variants = ", ".join(variant.name for variant in manifest.variants)
    click.echo(f"{out}  {manifest.name} {manifest.version}, {out.stat().st_size / 1e6:.1f} MB")
    click.echo(f"variants  {variants}")
    click.echo(f"golden    {len(manifest.golden.cases) if manifest.golden else 0} cases")
