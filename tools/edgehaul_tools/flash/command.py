"""``edgehaul flash``."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from edgehaul.bundle.archive import verify_bundle
from edgehaul_tools.flash.flash import FlashOptions, flash_bundle
from edgehaul_tools.flash.target import FolderTarget


@click.command("flash")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The device's root folder (a mounted card, an image, a virtual device).",
)
@click.option("--device-type", default="", help="Refuse bundles made for other device types.")
@click.option("--allow-downgrade", is_flag=True, help="Let an older version replace a newer one.")
@click.option("--dry-run", is_flag=True, help="Verify the bundle and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def flash(
    bundle: Path,
    root: Path,
    *,
    device_type: str,
    allow_downgrade: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Install BUNDLE on a device; it is proved there before it is used."""
    if dry_run:
        manifest = verify_bundle(bundle)
        if as_json:
            seen = {"name": manifest.name, "version": manifest.version, "installed": False}
            click.echo(msgspec.json.encode(seen))
        else:
            click.echo(f"{manifest.name} {manifest.version} is whole; nothing was installed")
        return
    options = FlashOptions(device_type=device_type, allow_downgrade=allow_downgrade)
    flashed = flash_bundle(bundle, FolderTarget(root), options)
    if as_json:
        click.echo(msgspec.json.encode(flashed).decode())
        return
    click.echo(
        f"installed {flashed.name} {flashed.version} on {root}: golden answers match, "
        f"fastest variant {flashed.variant}"
    )
