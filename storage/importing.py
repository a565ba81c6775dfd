"""Class folders from anywhere, copied into the store."""

from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from uuid import uuid4

from storage import labels
from storage.errors import LabelError
from storage.folders import Refusal, entries, prepare_each, unfit
from storage.photos import Photos, Prepared
from storage.receipts import Outcome, Receipt

BATCH = 64  # Photos that are committed together.
STAGED = 1000  # More than are ever made ready ahead.
Ready = tuple[Path, Prepared | Refusal]


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
    Raises PhotoError where `folder` cannot be read, OSError where the disk is full; what was stored until then stays.
    """
    report = ImportReport()
    files = _files(folder, report)
    key = f"import:{uuid4().hex}"  # However many transactions it takes, an import is one act.
    done = 0
    staged: deque[Path] = deque(maxlen=STAGED)
    try:
        with closing(prepare_each(photos, files, staged=staged)) as ready:
            while batch := list(islice(ready, BATCH)):
                _store(photos, batch, by, key, report, files)
                done += len(batch)
                if progress:
                    progress(done, len(files))
    finally:
        for path in staged:  # Those that were stored are there no more.
            path.unlink(missing_ok=True)
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
    photos: Photos, batch: list[Ready], by: str, key: str, report: ImportReport, files: dict[Path, ClassImport]
) -> None:
    good = [(path, prepared) for path, prepared in batch if isinstance(prepared, Prepared)]
    receipts = iter(photos.store_all([(prepared, path.parent.name) for path, prepared in good], by, key))
    for path, prepared in batch:
        if isinstance(prepared, Refusal):
            _refuse(report, files[path], prepared)
        else:
            _count(report, files[path], path, next(receipts))


def _count(report: ImportReport, tally: ClassImport, path: Path, receipt: Receipt) -> None:
    if receipt.outcome is Outcome.CONTESTED:
        _refuse(report, tally, Refusal(str(path), f"It is already stored under “{receipt.before}”."))
    elif receipt.outcome is Outcome.GONE:
        _refuse(report, tally, Refusal(str(path), "It was removed by hand just now; import it again."))
    elif receipt.outcome is Outcome.DUPLICATE:
        report.duplicates += 1
        tally.duplicates += 1
    else:
        report.added += 1
        tally.added += 1


def _refuse(report: ImportReport, tally: ClassImport, refusal: Refusal) -> None:
    report.refused.append(refusal)
    tally.refused += 1
