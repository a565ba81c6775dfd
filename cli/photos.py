"""Commands about the photos."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.context import Context
from cli.output import Bar
from storage import lifeline
from storage.decoder import Decoder
from storage.disk import Reserve
from storage.errors import PhotoError, RecordsError
from storage.folders import Refusal
from storage.importing import import_folder
from storage.labels import shown
from storage.reindex import reindex as follow_folders

TUTORIAL = {"shards": 5, "test": 500, "seed": 0}
THIN = 10  # A class with fewer photos is marked; its answers are still a matter of luck.

records = typer.Typer(help="TFRecords of the photos.", no_args_is_help=True)


def import_(
    context: typer.Context, folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of class folders.")]
) -> None:
    """Copy class folders into the data folder; nothing in DIR is changed."""
    state: Context = context.obj
    if short := Reserve.of(state.settings).short():
        raise PhotoError("Nothing is imported: {reason}.", reason=short)
    with Decoder(state.settings.images, os.cpu_count() or 1) as decoder, state.output.progress() as bar:
        photos = state.photos_with(decoder.normalise)
        report = import_folder(folder, photos, "import", lambda done, total: bar.show("import", done, total))
    if state.output.document(asdict(report)):
        return
    rows = [(row.name, row.added, row.duplicates, row.refused) for row in report.classes]
    state.output.table(("class", "added", "duplicate", "refused"), rows)
    _tell_refusals(state, report.refused)
    state.output.say(
        f"{report.added} photos added, {report.duplicates} were there already, {len(report.refused)} refused."
    )


def reindex(context: typer.Context) -> None:
    """Make the catalogue follow what was changed by hand in the class folders."""
    state: Context = context.obj
    report = follow_folders(state.photos)
    if state.output.document(asdict(report)):
        return
    for before, after in report.renamed.items():
        state.output.say(f"renamed: {before} → {after}")
    _tell_refusals(state, [*report.refused, *report.conflicts])
    state.output.say(
        f"{report.added} photos came in, {report.moved} changed class, {report.removed} are gone."
        if report.changed
        else "Nothing has changed; the catalogue and the class folders agree."
    )


def classes(context: typer.Context) -> None:
    """List the classes and how many photos each has."""
    state: Context = context.obj
    counts = state.photos.classes()
    if state.output.document([asdict(count) for count in counts]):
        return
    if not counts:
        state.output.say("There are no photos yet; `retrainbot import` takes a folder of class folders.")
        return
    rows = [
        (shown(row.name), row.photos, row.train, row.validation, row.test, "few" if row.photos < THIN else "")
        for row in counts
    ]
    state.output.table(("class", "photos", "train", "validation", "test", ""), rows)


@records.command("build")
def build(
    context: typer.Context,
    shards: Annotated[int | None, typer.Option(min=1, help="Tutorial's layout: files a split, 5 unless said.")] = None,
    test: Annotated[int | None, typer.Option(min=0, help="Tutorial's layout: test photos, 500 unless said.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Tutorial's layout: how photos are drawn, 0 unless said.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Tutorial's layout: the folder, data/tutorial unless said.")] = None,
) -> None:
    """Write the photos as TFRecords, with labels.txt and a manifest.

    Shards whose photos have not changed are kept. With any of the options, all photos are shuffled and written as in
    the tutorial, to a folder of their own.
    """
    state: Context = context.obj
    follow_folders(state.photos)
    given = {"shards": shards, "test": test, "seed": seed, "out": out and out.absolute()}
    given = {name: value for name, value in given.items() if value is not None}
    layout = {**TUTORIAL, "out": state.settings.data.absolute() / "tutorial", **given} if given else {}
    with state.output.progress() as bar:
        bar.show("records", 0, 0)
        document = _built(layout.values(), bar)
    if state.output.document(document):
        return
    for words in document["mended"]:
        state.output.say(words)
    state.output.say(
        f"{document['photos']} photos in {document['shards']} shards, {document['written']} of them written now:"
        f" {document['dir']}"
    )


def _built(arguments: Iterable[object], bar: Bar) -> dict[str, Any]:
    """What `trainer.records` says at its end; it needs TensorFlow, so it has a process of its own, as a run has."""
    document: dict[str, Any] = {}
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
        subprocess.Popen(
            lifeline.child("trainer.records.builder", *map(str, arguments)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,  # TensorFlow speaks of itself there.
            env={**os.environ, lifeline.VARIABLE: "1"},
            text=True,
        ) as child,
    ):
        for line in child.stdout or ():
            document = json.loads(line)
            if "done" in document:
                bar.show("records", document["done"], document["total"])
        if child.wait() or not document:
            said.seek(0)
            document = {"error": f"The process ended unexpectedly: {' '.join(said.read().splitlines()[-1:])}"}
    if "error" in document:
        raise RecordsError(document["error"])
    return document


def _tell_refusals(state: Context, refusals: Sequence[Refusal]) -> None:
    for refusal in refusals:
        state.output.say(f"{refusal.path}: {refusal.reason}")
