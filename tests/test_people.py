"""Who may use the bot."""

from itertools import product

import pytest

from storage.database import Database
from storage.people import GroupInfo, People, PeopleError, PersonInfo, Role

pytestmark = pytest.mark.both_databases

OWNER, BOB, EVE, GROUP = 1001, 2002, 2**51, -(2**40)


@pytest.fixture
def people(database: Database) -> People:
    return People(database, [OWNER])


def test_roles_stand_above_each_other() -> None:
    """An admin may do what a labeller may, and a labeller what a viewer may; not the other way."""
    allowed = {(role.value, needed.value) for role, needed in product(Role, Role) if role.allows(needed)}
    assert allowed == {
        ("viewer", "viewer"),
        ("labeller", "viewer"),
        ("labeller", "labeller"),
        ("admin", "viewer"),
        ("admin", "labeller"),
        ("admin", "admin"),
    }


def test_nobody_is_let_in_by_default(people: People) -> None:
    """Whoever is neither an owner nor let in has no role, and no group is allowed."""
    assert people.role(OWNER) is Role.ADMIN
    assert people.role(BOB) is None
    assert people.get(BOB) is None
    assert not people.in_group(GROUP)


def test_people_are_let_in_and_put_out(people: People, database: Database) -> None:
    """A role is kept over a restart, can be changed, and ends; a name stays until another is given."""
    people.let_in(BOB, "  Bob\0\n B. ", Role.VIEWER, "telegram:1001")
    assert People(database, []).get(BOB) == PersonInfo(BOB, "Bob B.", Role.VIEWER, owner=False)
    assert people.let_in(BOB, "", Role.LABELLER, "telegram:1001").name == "Bob B."
    assert people.role(BOB) is Role.LABELLER
    people.put_out(BOB, "telegram:1001")
    assert people.role(BOB) is None
    with pytest.raises(PeopleError, match="2002"):
        people.put_out(BOB, "telegram:1001")


def test_owners_cannot_be_changed_in_the_chat(people: People, database: Database) -> None:
    """The configuration alone says who owns the bot, also of somebody who was let in before."""
    People(database, []).let_in(OWNER, "Ada", Role.VIEWER, "import")
    assert people.get(OWNER) == PersonInfo(OWNER, "Ada", Role.ADMIN, owner=True)
    with pytest.raises(PeopleError, match="owner"):
        people.let_in(OWNER, "Ada", Role.VIEWER, "telegram:1001")
    with pytest.raises(PeopleError, match="owner"):
        people.put_out(OWNER, "telegram:1001")
    assert people.role(OWNER) is Role.ADMIN


def test_everybody_is_listed(people: People) -> None:
    """Owners come first, then the others by what they may do and by name."""
    people.let_in(EVE, "eve", Role.VIEWER, "telegram:1001")
    people.let_in(BOB, "Bob", Role.VIEWER, "telegram:1001")
    people.let_in(7, "Zoe", Role.ADMIN, "telegram:1001")
    assert [(item.id, item.owner) for item in people.all()] == [(OWNER, True), (7, False), (BOB, False), (EVE, False)]


def test_groups_are_allowed_and_forbidden(people: People) -> None:
    """A group counts from when it is allowed until it is forbidden; both may be said twice."""
    for title in ("Garden", "Garden club"):
        people.allow_group(GROUP, title, "telegram:1001")
    assert people.in_group(GROUP)
    assert people.groups() == [GroupInfo(GROUP, "Garden club")]
    for _ in range(2):
        people.forbid_group(GROUP, "telegram:1001")
    assert not people.in_group(GROUP)
    assert people.groups() == []
