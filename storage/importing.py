"""Class folders from anywhere, copied into the store."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from storage import labels
from storage.errors import LabelError, PhotoError
from storage.folders import Refusal, entries, prepare_each, unfit
from storage.photos import Outcome, Photos, Prepared


@dataclass
class ClassImport:
    """What became of the files of one folder; `name` is the folder's."""

    name: str
    added: int = 0
    duplicates: int = 0
    refused: int = 0


@dataclass
class ImportReport:
    """Every file seen was added, was a duplicate within its class, or was refused with a reason.

    A file outside the class folders, and a folder inside one, count as one refusal each.
    """

    added: int = 0
    duplicates: int = 0
    refused: list[Refusal] = field(default_factory=list)
    classes: list[ClassImport] = field(default_factory=list)


def import_folder(
    folder: Path, photos: Photos, by: str = "import", progress: Callable[[int, int], None] | None = None
) -> ImportReport:
    """Store the photos of `folder`, which holds one folder a class; nothing in it is changed.

    A photo that is stored under another class already stays there and is refused. `progress` is told how many files
    are done, and how many there are. A second import decodes nothing but what was refused before.
    Raises PhotoError where `folder` cannot be read.
    """
    report = ImportReport()
    files = _files(folder, report)
    for done, (path, prepared) in enumerate(prepare_each(photos, files), 1):
        _store(photos, path, prepared, by, report, files[path])
        if progress:
            progress(done, len(files))
    return report


def _files(folder: Path, report: ImportReport) -> dict[Path, ClassImport]:
    """What to try, in order; what cannot be a photo of a class is refused here."""
    files = {}
    for parent in entries(folder):
        if reason := unfit(parent, folder=True):
            report.refused.append(Refusal(parent.path, reason))
            continue
        tally = ClassImport(parent.name)
        report.classes.append(tally)
        wrong_name = _wrong_name(parent.name)
        for entry in entries(Path(parent.path)):
            if reason := wrong_name or unfit(entry):
                _refuse(report, tally, Refusal(entry.path, reason))
            else:
                files[Path(entry.path)] = tally
    return files


def _wrong_name(folder: str) -> str | None:
    try:
        labels.class_name(folder)
    except LabelError as error:
        return f"Its folder names no class. {error}"
    return None


def _store(
    photos: Photos, path: Path, prepared: Prepared | Refusal, by: str, report: ImportReport, tally: ClassImport
) -> None:
    if isinstance(prepared, Refusal):
        _refuse(report, tally, prepared)
        return
    try:
        receipt = photos.store(prepared, path.parent.name, by, move=False)
    except PhotoError as error:
        _refuse(report, tally, Refusal(str(path), str(error)))
        return
    if receipt.outcome is Outcome.DUPLICATE:
        report.duplicates += 1
        tally.duplicates += 1
    else:
        report.added += 1
        tally.added += 1


def _refuse(report: ImportReport, tally: ClassImport, refusal: Refusal) -> None:
    report.refused.append(refusal)
    tally.refused += 1
