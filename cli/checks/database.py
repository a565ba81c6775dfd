"""Whether the database is whole, and of this version."""

from pathlib import Path

from cli.checks.finding import Finding, blame, failed, ok, warning
from storage.database import kind_of
from storage.errors import DatabaseError
from storage.looking import Schema, damage, is_new, looking, schema

CHECK = "database"


def check(place: Path | str) -> Finding:
    """`place` is a file or an address."""
    name = kind_of(place).name
    try:
        if is_new(place):
            return ok(CHECK, "There is none yet; it is made at the first start.")
        with looking(place) as session:
            broken, present = damage(session), schema(session)
    except DatabaseError as error:
        return blame(CHECK, error)
    if broken:
        return failed(CHECK, f"{name} is damaged ({broken}).", "Restore it from a backup.")
    if present is Schema.NEWER:
        return failed(CHECK, f"{name} was written by a newer Retrainbot.", "Install that version again.")
    if present is Schema.OLDER:
        return warning(
            CHECK,
            f"{name} is whole, and was written by an older Retrainbot.",
            "The next start brings it up to date by itself; keep a copy of the data folder, as there is no way back.",
        )
    return ok(CHECK, f"{name} is whole and up to date.")
