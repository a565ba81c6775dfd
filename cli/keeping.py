"""Commands that keep the data safe, and private."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import Context
from storage.backup import back_up
from storage.errors import ForgetError, RetrainbotError, SettingsError
from storage.forgetting import Forgetting, Person, Trace
from storage.restore import restore as bring_back

if TYPE_CHECKING:
    from trainer.forgetting import Learned

MOST_NAMED = 10
BACKUP_AGAIN = "`retrainbot backup DIR`"


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


def forget(
    context: typer.Context,
    who: Annotated[str, typer.Argument(metavar="PERSON", help="An id or a name, as /people shows them.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
) -> None:
    """Erase a person: their photos, their messages, and their name wherever it stands."""
    from trainer import forgetting as training  # noqa: PLC0415  Few commands need it.

    state: Context = context.obj
    forgetting = Forgetting(state.database, state.settings)
    person = forgetting.find(who)
    trace = forgetting.look(person)
    if not yes:
        _ask(state, person, trace)
    learned = training.learned(state.models, state.settings, set(trace.photos))
    learning = training.learning(state.runs, state.settings, set(trace.photos))
    trace = forgetting.forget(person)
    left = list(_clean(state))
    document = {
        "person": person.id,
        "photos": len(trace.photos),
        "shared": len(trace.shared),
        "acts": trace.acts,
        "messages": trace.messages,
        "refused": trace.refused,
        "versions": [asdict(version) for version in learned],
        "runs": learning,
        "left": left,
    }
    if not state.output.document(document):
        state.output.say(f"{_what(trace)} of {_name(person)} are gone.")
        for line in [*_versions(learned), *(f"Run {run} began with them: cancel it." for run in learning), *left]:
            state.output.say(line)
        state.output.say(f"Backups hold all of it until they are made again: {BACKUP_AGAIN}.")


def _ask(state: Context, person: Person, trace: Trace) -> None:
    """Ask whether it is meant so. Raises ForgetError where it is not, SettingsError where nobody can be asked."""
    state.output.warn(f"This erases {_what(trace)} of {_name(person)}. It cannot be undone.")
    if trace.shared:
        state.output.warn(f"Photos that somebody else gave, too, stay: {len(trace.shared)}.")
    if not sys.stdin.isatty():
        raise SettingsError("Nobody can be asked whether that is meant so. Add --yes if it is.")
    with suppress(typer.Abort):
        if typer.confirm("Erase it?", err=True):
            return
    raise ForgetError("Nothing is erased.")


def _what(trace: Trace) -> str:
    return (
        f"{len(trace.photos)} photos, {trace.messages} messages, {trace.refused} refused files and the name in"
        f" {trace.acts} acts"
    )


def _name(person: Person) -> str:
    names = ", ".join(sorted(person.names))
    return f"{names} ({person.id})" if names else str(person.id)


def _versions(learned: Sequence["Learned"]) -> Iterator[str]:
    for version in learned:
        made = "may have learned" if version.photos is None else f"has learned from {version.photos}"
        served = " It is served: train first." if version.served else ""
        yield f"Version {version.version} {made} of these photos: `retrainbot delete {version.version}`.{served}"


def _clean(state: Context) -> Iterator[str]:
    """Let features and records go, and overwrite the rows; what is left for later, in words."""
    from trainer import forgetting as training  # noqa: PLC0415  Few commands need it.

    later = "; the trainer removes it within a day"
    try:
        _, cleaned = training.clean(state.photos, state.runs, state.settings)
    except OSError as error:
        yield f"Features or records may still hold something ({error.strerror}){later}."
    else:
        yield from (f"{folder} is in use and may still hold photos{later}." for folder in cleaned.in_use)
    if (state.settings.data / "tutorial").exists():
        yield f"{state.settings.data / 'tutorial'} was made by hand and may hold photos: delete it, or build it anew."
    try:
        state.database.scrub()
    except (RetrainbotError, OSError) as error:
        yield f"What was deleted may still be read in the file of the database ({error}); forget somebody again later."


def _tell_missing(state: Context, missing: tuple[str, ...], words: str) -> None:
    """Name some of the files, and exit with 1 where there are any."""
    if not missing:
        return
    for name in missing[:MOST_NAMED]:
        state.output.warn(name)
    state.output.warn(f"retrainbot: Files {words}: {len(missing)}")
    raise typer.Exit(1)
