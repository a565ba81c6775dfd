"""Commands about model versions and their answers."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from cli.context import Context
from cli.output import Bar, percent
from serving.client import ModelServer
from storage.errors import ImageError, ModelError
from storage.images import model_input
from storage.labels import shown
from storage.models import Version, summary
from storage.pointer import Served
from storage.retention import Retention
from storage.splits import Split
from trainer.evaluate import Evaluation
from trainer.evaluate import evaluate as evaluate_photos

Number = Annotated[int | None, typer.Option("--version", min=1, help="A version's number, else the served one.")]


def classify(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.")],
    top: Annotated[int | None, typer.Option(min=1, help="Only the best K classes.")] = None,
    number: Number = None,
) -> None:
    """Ask the model what is in photos: every class with its score, best first."""
    state: Context = context.obj
    with _version(state, number) as version:
        answers = asyncio.run(_classify(state, version, list(_files(paths)), top))
    if not state.output.document(answers):
        for answer in answers:
            state.output.say(_lines(answer))
    if all("error" in answer for answer in answers):
        raise typer.Exit(1)


def evaluate(
    context: typer.Context,
    number: Number = None,
    split: Annotated[Split, typer.Option(help="Which photos to judge on.")] = Split.TEST,
) -> None:
    """Judge a version on the photos it has not learnt from."""
    state: Context = context.obj
    with _version(state, number) as version, state.output.progress() as bar:
        evaluation = asyncio.run(_evaluate(state, version, split, bar))
    document = {"version": version.number, "split": split.value, **evaluation.document()}
    if state.output.document(document):
        return
    rows = [(shown(name), row["photos"], percent(row["accuracy"])) for name, row in document["per_class"].items()]
    state.output.table(("class", "photos", "right"), rows)
    state.output.say(
        f"Version {version.number}: {percent(document['accuracy'])} of {len(evaluation.photos)} {split} photos are"
        f" right, {percent(document['top5_accuracy'])} among the best five."
    )


def models(context: typer.Context) -> None:
    """List the model versions."""
    state: Context = context.obj
    served = state.models.served()
    rows = [_summary(state, number, served) for number in state.models.numbers()]
    if state.output.document(rows):
        return
    if not rows:
        state.output.say("There is no version yet; `retrainbot train` makes one.")
        return
    state.output.table(
        ("version", "", "made (UTC)", "backbone", "mode", "classes", "photos", "test accuracy"),
        [_row(row) for row in rows if "error" not in row],
    )
    for row in rows:
        if "error" in row:
            state.output.say(row["error"])


def promote(context: typer.Context, number: Annotated[int, typer.Argument(metavar="N", min=1)]) -> None:
    """Serve version N from now on."""
    state: Context = context.obj
    _tell_served(state, state.models.promote(number, "command line"))


def rollback(context: typer.Context) -> None:
    """Serve again what was served before."""
    state: Context = context.obj
    _tell_served(state, state.models.rollback("command line"))


def pin(context: typer.Context, number: Annotated[int, typer.Argument(metavar="N", min=1)]) -> None:
    """Keep version N, however old it gets."""
    _pin(context.obj, number, pinned=True)


def unpin(context: typer.Context, number: Annotated[int, typer.Argument(metavar="N", min=1)]) -> None:
    """Let version N go when it is old."""
    _pin(context.obj, number, pinned=False)


def delete(context: typer.Context, number: Annotated[int, typer.Argument(metavar="N", min=1)]) -> None:
    """Remove version N for good; not the served one."""
    state: Context = context.obj
    retention(state).delete(number)
    if not state.output.document({"version": number}):
        state.output.say(f"Version {number} is deleted.")


def retention(state: Context) -> Retention:
    return Retention(state.database, state.settings.models_dir, state.settings.serving.keep_versions)


def _pin(state: Context, number: int, *, pinned: bool) -> None:
    version = state.models.pin(number, pinned=pinned)
    if not state.output.document(summary(version, state.models.served())):
        kept = "is kept, however old it gets" if pinned else "may be removed when it is old"
        state.output.say(f"Version {number} {kept}; serving.keep_versions says how many are kept in any case.")


def _tell_served(state: Context, version: Version) -> None:
    if not state.output.document(summary(version, state.models.served())):
        state.output.say(f"Version {version.number} is served from now on; a running bot changes over within seconds.")


def _summary(state: Context, number: int, served: Served | None) -> dict[str, Any]:
    """A version in a few words; a damaged one with its error."""
    try:
        return summary(state.models.get(number), served)
    except ModelError as error:
        is_served = served is not None and served.version == number
        return {"version": number, "served": is_served, "error": str(error)}


def _row(version: dict[str, Any]) -> tuple[object, ...]:
    return (
        version["version"],
        ", ".join(word for word in ("served", "pinned") if version[word]),
        version["created_at"][:16].replace("T", " "),
        version["backbone"],
        version["mode"],
        version["classes"],
        version["photos"],
        percent(version["metrics"].get("test_accuracy")),
    )


@contextmanager
def _version(state: Context, number: int | None) -> Iterator[Version]:
    """The version asked for, or the served one, with its files checked. It is held against being removed."""
    served = state.models.served()
    if number is None and served is None:
        raise ModelError("There is no version yet. Import photos, then run `retrainbot train`.")
    with state.models.reading(number or served.version) as version:  # type: ignore[union-attr]
        yield version


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """Files as they are named, folders as the files below them, in order."""
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        else:
            yield path


async def _classify(state: Context, version: Version, files: Sequence[Path], top: int | None) -> list[dict[str, Any]]:
    async with await _start(state, version) as server:
        return [await _answer(state, server, version, path, top) for path in files]


async def _answer(state: Context, server: ModelServer, version: Version, path: Path, top: int | None) -> dict[str, Any]:
    try:
        photo = state.photos.normalise(await asyncio.to_thread(path.read_bytes))
    except (ImageError, OSError) as error:
        return {"path": str(path), "error": f"{error.strerror}." if isinstance(error, OSError) else str(error)}
    probabilities = await server.predict(model_input(photo.content, server.input_size))
    order = np.argsort(-probabilities, kind="stable")
    ranked = [{"class": version.classes[i], "probability": float(probabilities[i])} for i in order]
    return {
        "path": str(path),
        "version": version.number,
        "predictions": ranked[:top],
        "sure": bool(probabilities[order[0]] >= version.sure_above(state.settings.serving.sure_above)),
    }


async def _evaluate(state: Context, version: Version, split: Split, bar: Bar) -> Evaluation:
    photos = [photo for photo in state.photos.all() if photo.split == split]
    async with await _start(state, version) as server:
        return await evaluate_photos(
            server,
            version.classes,
            photos,
            lambda done, total: bar.show("evaluate", done, total),
            read=state.photos.read,
        )


async def _start(state: Context, version: Version) -> ModelServer:
    serving = state.settings.serving
    server = await ModelServer.spawn(serving.threads or None)
    await server.load(version.folder, timeout=serving.start_timeout)
    return server


def _lines(answer: dict[str, Any]) -> str:
    """The tutorial's lines: the path, then every class with its score, best first."""
    if "error" in answer:
        return f"{answer['path']}\n{answer['error']}"
    scores = [f"{row['class']} (score = {row['probability']:.5f})" for row in answer["predictions"]]
    unsure = [] if answer["sure"] else ["(not sure)"]
    return "\n".join([answer["path"], *unsure, *scores])
