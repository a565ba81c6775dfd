"""Whether the database is whole, and of this version."""

from pathlib import Path

from cli.checks.finding import Finding, blame, failed, ok, warning
from storage.database import kind_of
from storage.errors import DatabaseError
from storage.looking import Schema, damage, exists, looking, schema

CHECK = "database"


def check(place: Path | str) -> Finding:
    """`place` is SQLite's file, or the address of PostgreSQL's."""
    if not exists(place):
        return ok(CHECK, "There is none yet; it is made at the first start.")
    try:
        with looking(place) as session:
            broken, present = damage(session), schema(session)
    except DatabaseError as error:
        return blame(CHECK, error)
    file = kind_of(place).name
    if broken:
        return failed(CHECK, f"{file} is damaged ({broken}).", "Restore it from a backup.")
    if present is Schema.NEWER:
        return failed(CHECK, f"{file} was written by a newer Retrainbot.", "Install that version again.")
    if present is Schema.OLDER:
        return warning(
            CHECK,
            f"{file} is whole, and was written by an older Retrainbot.",
            "The next start brings it up to date by itself; keep a copy of the data folder, as there is no way back.",
        )
    return ok(CHECK, f"{file} is whole and up to date.")
