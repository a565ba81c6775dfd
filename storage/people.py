"""Who may use the bot: nobody but the owners, whom the configuration names, and those who were let in by them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog
from sqlalchemy import select

from storage.database import Database, now
from storage.errors import RetrainbotError
from storage.tables import GroupRow, PersonRow

MAX_NAME = 200
log = structlog.get_logger()


class PeopleError(RetrainbotError):
    """A person or group is not known here, or cannot be changed so."""


class Role(StrEnum):
    """What somebody may do; each role may do all that those before it may."""

    VIEWER = "viewer"  # Ask.
    LABELLER = "labeller"  # Add photos, and take back what was added.
    ADMIN = "admin"  # Train, change classes, and let people in.

    def allows(self, needed: "Role") -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class PersonInfo:
    """Somebody who may use the bot. Of an owner the chat may know no name."""

    id: int
    name: str
    role: Role
    owner: bool


@dataclass(frozen=True)
class GroupInfo:
    id: int
    title: str


class People:
    """Ids are Telegram's. `by` says who changes something, as the history names people: `telegram:1001`."""

    def __init__(self, database: Database, owners: Collection[int], clock: Callable[[], datetime] = now) -> None:
        self._database = database
        self._owners = tuple(dict.fromkeys(owners))
        self._clock = clock

    def role(self, user: int) -> Role | None:
        """None where this person was not let in."""
        known = self.get(user)
        return known.role if known else None

    def get(self, user: int) -> PersonInfo | None:
        with self._database.read() as session:
            row = session.get(PersonRow, user)
        name = row.name if row else ""
        if user in self._owners:
            return PersonInfo(user, name, Role.ADMIN, owner=True)
        return PersonInfo(user, name, Role(row.role), owner=False) if row else None

    def let_in(self, user: int, name: str, role: Role, by: str) -> PersonInfo:
        """Let somebody in, or change their role; an empty name leaves the one that is known.

        Raises PeopleError for an owner.
        """
        self._refuse_owner(user)
        with self._database.write() as session:
            row = session.get(PersonRow, user)
            if row is None:
                row = PersonRow(id=user, name="", role=role, added_at=self._clock(), added_by=by)
                session.add(row)
            row.name, row.role = _one_line(name) or row.name, role
        log.info("let in", person=user, role=role, by=by)
        return PersonInfo(user, row.name, role, owner=False)

    def put_out(self, user: int, by: str) -> None:
        """Raises PeopleError for an owner, and where this person was not let in."""
        self._refuse_owner(user)
        with self._database.write() as session:
            row = session.get(PersonRow, user)
            if row is None:
                raise PeopleError("Nobody with the id {user} was let in. /people lists everybody.", user=user)
            session.delete(row)
        log.info("put out", person=user, by=by)

    def all(self) -> list[PersonInfo]:
        """The owners as the configuration lists them, then the others: by role, highest first, and name."""
        with self._database.read() as session:
            rows = session.scalars(select(PersonRow)).all()
        names, order = {row.id: row.name for row in rows}, list(Role)
        owners = [PersonInfo(user, names.get(user, ""), Role.ADMIN, owner=True) for user in self._owners]
        others = [
            PersonInfo(row.id, row.name, Role(row.role), owner=False) for row in rows if row.id not in self._owners
        ]
        return owners + sorted(others, key=lambda item: (-order.index(item.role), item.name.casefold(), item.id))

    def allow_group(self, chat: int, title: str, by: str) -> None:
        """Let the people who were let in use the bot in this group, too."""
        with self._database.write() as session:
            row = session.get(GroupRow, chat)
            if row is None:
                row = GroupRow(id=chat, title="", added_at=self._clock(), added_by=by)
                session.add(row)
            row.title = _one_line(title)
        log.info("group allowed", chat=chat, by=by)

    def forbid_group(self, chat: int, by: str) -> None:
        with self._database.write() as session:
            row = session.get(GroupRow, chat)
            if row:
                session.delete(row)
        log.info("group forbidden", chat=chat, by=by)

    def groups(self) -> list[GroupInfo]:
        with self._database.read() as session:
            groups = [GroupInfo(row.id, row.title) for row in session.scalars(select(GroupRow))]
        return sorted(groups, key=lambda group: (group.title, group.id))

    def in_group(self, chat: int) -> bool:
        """Whether this group is allowed."""
        with self._database.read() as session:
            return session.get(GroupRow, chat) is not None

    def _refuse_owner(self, user: int) -> None:
        if user in self._owners:
            raise PeopleError(
                "{user} is an owner, who can be changed only in the configuration of the computer that I run on.",
                user=user,
            )


def _one_line(text: str) -> str:
    return " ".join(text.replace("\0", " ").split())[:MAX_NAME]  # PostgreSQL's texts cannot hold a NUL.
