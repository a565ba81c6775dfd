"""Commands that keep the data safe."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.context import Context
from storage.backup import back_up
from storage.restore import restore as bring_back

MOST_NAMED = 10


def backup(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new, empty, or holds the backup.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Trust the files that are in the backup already, without reading them.")
    ] = False,
) -> None:
    """Copy what cannot be made again to DIR, while everything runs; only what is new is copied."""
    state: Context = context.obj
    with state.output.progress() as bar:
        report = back_up(folder.absolute(), state.settings, quick=quick, told=bar.show)
    if not state.output.document(asdict(report)):
        state.output.say(
            f"{report.photos} photos in {report.classes} classes, {report.unlabelled} in no class and"
            f" {len(report.versions)} versions are safe in {report.dir}: {report.copied} files were copied,"
            f" {report.linked} linked, {report.reused} were there already."
        )
    _tell_missing(
        state,
        report.missing,
        "missing or damaged in the data folder, and so not in the backup. If they were deleted on purpose, run"
        " `retrainbot reindex`",
    )


def restore(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `retrainbot backup` was given.")],
) -> None:
    """Bring a backup back into a data folder that is new or empty."""
    state: Context = context.obj
    with state.output.progress() as bar:
        report = bring_back(folder.absolute(), state.settings, told=bar.show)
    if not state.output.document(asdict(report)):
        state.output.say(
            f"{report.photos} photos in {report.classes} classes, {report.unlabelled} in no class and"
            f" {len(report.versions)} versions, as they were at {report.at:%Y-%m-%d %H:%M} UTC, are in {report.data}."
        )
    _tell_missing(state, report.missing, "missing or damaged in the backup; all else is back")


def _tell_missing(state: Context, missing: tuple[str, ...], words: str) -> None:
    """Name some of the files, and exit with 1 where there are any."""
    if not missing:
        return
    for name in missing[:MOST_NAMED]:
        state.output.warn(name)
    state.output.warn(f"retrainbot: Files {words}: {len(missing)}")
    raise typer.Exit(1)
