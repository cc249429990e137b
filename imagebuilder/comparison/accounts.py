"""Users and groups of a root file system: passwd(5), shadow(5), group(5)."""

from __future__ import annotations

from collections.abc import Mapping

from imagebuilder.comparison.aspects import Aspects
from imagebuilder.comparison.members import Member

# What is told of as users and groups, and so not as files.
FILES = frozenset(
    f"etc/{name}{suffix}"
    for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
    for suffix in ("", "-")
)
_MOST = 1 << 20  # bytes of a file


def users(members: Mapping[str, Member]) -> dict[str, Aspects]:
    """Return the users by name: ids, groups, home, shell and what sort of password they have.

    A password itself is only compared.
    """
    passwords = {row[0]: row[1] for row in _rows(members, "etc/shadow", 2)}
    groups: dict[str, list[str]] = {}
    primary: dict[str, str] = {}
    for row in _rows(members, "etc/group", 4):
        primary.setdefault(row[2], row[0])
        for name in filter(None, row[3].split(",")):
            groups.setdefault(name, []).append(row[0])
    found: dict[str, Aspects] = {}
    for name, password, uid, gid, gecos, home, shell in _rows(members, "etc/passwd", 7):
        secret = passwords.get(name, "") if password == "x" else password  # noqa: S105
        found[name] = Aspects(
            shown={
                "uid": uid,
                "group": primary.get(gid, gid),
                "groups": " ".join(sorted(groups.get(name, ()))),
                "name": gecos,
                "home": home,
                "shell": shell,
                "password": _sort_of(secret),
            },
            secrets={"password": secret},
        )
    return found


def groups(members: Mapping[str, Member]) -> dict[str, Aspects]:
    """Return the groups by name; who is in them is told of with the users."""
    return {row[0]: Aspects(shown={"gid": row[2]}) for row in _rows(members, "etc/group", 4)}


def names(members: Mapping[str, Member], path: str) -> dict[str, str]:
    """Return the names for the numbers of ``etc/passwd`` or ``etc/group``."""
    found: dict[str, str] = {}
    for row in _rows(members, path, 3):
        found.setdefault(row[2], row[0])
    return found


def _sort_of(password: str) -> str:
    """Return in a word what stands in the place of a password, shadow(5)."""
    if not password:
        return "none"
    return "locked" if password[0] in "!*" else "set"


def _rows(members: Mapping[str, Member], path: str, columns: int) -> list[list[str]]:
    member = members.get(path)
    if member is None or member.kind != "-" or len(member.data) > _MOST:
        return []
    lines = bytes(member.data).decode(errors="replace").splitlines()
    rows = [line.split(":") for line in lines]
    return [row[:columns] for row in rows if len(row) >= columns and row[0]]
