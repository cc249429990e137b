"""Users, groups, passwords and keys."""

from __future__ import annotations

import hashlib

from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import StepError
from imagebuilder.kickstart import Command, Kickstart

# crypt(5): yescrypt with the cost that Debian's own login.defs(5) has.
_YESCRYPT = "$y$j9T$"
_SIGNS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_HASH = "my ($s, $p) = map { chomp; $_ } <STDIN>; print crypt($p, $s);"


def configure(tree: Tree, kickstart: Kickstart) -> None:
    """Apply ``group``, ``user``, ``rootpw`` and ``sshkey``.

    Raises:
        StepError: a user or group cannot be made; with the command's file and line.
    """
    for command in kickstart.all("group"):
        _group(tree, command)
    for command in kickstart.all("user"):
        _user(tree, command)
    root = kickstart.last("rootpw")
    if root:
        _rootpw(tree, root)
    for command in kickstart.all("sshkey"):
        _sshkey(tree, command)


def _group(tree: Tree, command: Command) -> None:
    name, gid = command.data.name, command.data.gid
    there = _groups(tree).get(name)
    if there is None:
        _add_group(tree, name, gid, f"group {name} ({command.where})")
    elif gid is not None and str(gid) != there:
        raise StepError(
            f"group {name} has the id {there} already, not {gid}",
            where=command.where,
            fix="take out --gid, or choose another name",
        )


def _add_group(tree: Tree, name: str, gid: object, what: str) -> None:
    option = ["--gid", str(gid)] if gid not in (None, "") else []
    tree.run(["groupadd", *option, "--", name], what=what)


def _user(tree: Tree, command: Command) -> None:
    data = command.data
    shell = data.shell or "/bin/bash"
    if not tree.exists(shell):
        raise StepError(
            f"user {data.name}: the image has no {shell}",
            where=command.where,
            fix="add the package that brings it to %packages",
        )
    argv = ["useradd", "--create-home", "--shell", shell]
    for option, value in (
        ("--uid", data.uid),
        ("--home-dir", data.homedir),
        ("--comment", data.gecos),
    ):
        if value not in (None, ""):
            argv += [option, str(value)]
    if data.gid is not None:
        if str(data.gid) not in _groups(tree).values():
            what = f"user {data.name}: its group ({command.where})"
            _add_group(tree, data.name, data.gid, what)
        argv += ["--gid", str(data.gid)]
    names = []
    for entry in data.groups:
        name, gid = group_entry(entry)
        names.append(name)
        there = _groups(tree).get(name)
        if there is None:
            _add_group(tree, name, gid, f"user {data.name}: group {name} ({command.where})")
        elif gid and gid != there:
            raise StepError(
                f"user {data.name}: group {name} has the id {there}, not {gid}",
                where=command.where,
                fix=f"write {name}, or {name}({there})",
            )
    if names:
        argv += ["--groups", ",".join(names)]
    tree.run([*argv, "--", data.name], what=f"user {data.name} ({command.where})")
    if data.password:
        _password(tree, data.name, data.password, data.isCrypted, command)
    if data.lock:
        tree.run(["passwd", "--lock", data.name], what=f"locking {data.name} ({command.where})")


def group_entry(entry: str) -> tuple[str, str]:
    """Return name and id of an entry of ``user --groups``: ``NAME`` or ``NAME(GID)``."""
    name, _, gid = entry.strip().removesuffix(")").partition("(")
    return name.strip(), gid.strip()


def _rootpw(tree: Tree, command: Command) -> None:
    data = command.data
    if data.password:
        _password(tree, "root", data.password, data.isCrypted, command)
    if data.lock:
        tree.run(["passwd", "--lock", "root"], what=f"locking root ({command.where})")
    if getattr(data, "allow_ssh", False):
        tree.write("/etc/ssh/sshd_config.d/kickstart.conf", "PermitRootLogin yes\n", mode=0o600)


def _password(tree: Tree, user: str, password: str, crypted: bool, command: Command) -> None:
    if "\n" in password or ":" in user:
        raise StepError(f"the password of {user} cannot be set", where=command.where)
    what = f"setting the password of {user} ({command.where})"
    # By standard input: an argument would stand in the log and in the list of processes.
    if not crypted:
        setting = _YESCRYPT + _salt(user, password)
        # In the image, whose crypt(3) is the one that will look at it; the log gets no output.
        hashed = tree.run(
            ["perl", "-e", _HASH], what=what, stdin=f"{setting}\n{password}\n", logged=False
        )
        password = hashed.stdout.strip()
        if not password.startswith(setting):
            raise StepError(
                f"the password of {user} cannot be hashed: the image has no yescrypt",
                where=command.where,
                fix="give a hash: --iscrypted",
            )
    tree.run(["chpasswd", "--encrypted"], what=what, stdin=f"{user}:{password}\n")


def _salt(user: str, password: str) -> str:
    """Return a salt that follows from the password, so that the same plan gives the same bytes.

    It is as slow to compute (scrypt, RFC 7914, 16 MiB) as the hash itself: who has the hash
    learns nothing from its salt that would be quicker to guess by.
    """
    slow = hashlib.scrypt(
        password.encode(), salt=f"imagebuilder {user}".encode(), n=1 << 14, r=8, p=1, dklen=20
    )
    return "".join(_SIGNS[byte % 64] for byte in slow)


def _sshkey(tree: Tree, command: Command) -> None:
    user, key = command.data.username, command.data.key.strip()
    entry = next(
        (
            line.split(":")
            for line in tree.read("/etc/passwd").splitlines()
            if line.split(":")[0] == user
        ),
        None,
    )
    if entry is None:
        raise StepError(
            f"sshkey: there is no user {user}",
            where=command.where,
            fix=f"add: user --name={user}",
        )
    uid, gid, home = int(entry[2]), int(entry[3]), entry[5]
    folder = tree.path(f"{home}/.ssh")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = f"{home}/.ssh/authorized_keys"
    before = tree.read(file)
    if key not in before.splitlines():
        tree.write(file, f"{before}{key}\n", mode=0o600)
    tree.run(
        ["chown", "-h", f"{uid}:{gid}", f"{home}/.ssh", file],
        what=f"sshkey of {user} ({command.where})",
    )


def _groups(tree: Tree) -> dict[str, str]:
    """Return the ids of the image's groups, by name."""
    rows = (line.split(":") for line in tree.read("/etc/group").splitlines())
    return {row[0]: row[2] for row in rows if len(row) > 2}
