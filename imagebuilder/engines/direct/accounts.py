"""Users, groups, passwords and keys."""

from __future__ import annotations

from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import StepError
from imagebuilder.kickstart import Command, Kickstart


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
    data = command.data
    gid = ["--gid", str(data.gid)] if data.gid is not None else []
    tree.run(["groupadd", *gid, "--", data.name], what=f"group {data.name} ({command.where})")


def _user(tree: Tree, command: Command) -> None:
    data = command.data
    argv = ["useradd", "--create-home", "--shell", data.shell or "/bin/bash"]
    for option, value in (
        ("--uid", data.uid),
        ("--home-dir", data.homedir),
        ("--comment", data.gecos),
    ):
        if value not in (None, ""):
            argv += [option, str(value)]
    if data.gid is not None:
        if not _has_gid(tree, data.gid):
            tree.run(
                ["groupadd", "--gid", str(data.gid), "--", data.name],
                what=f"user {data.name}: its group ({command.where})",
            )
        argv += ["--gid", str(data.gid)]
    for entry in data.groups:
        name, _, gid = entry.rstrip(")").partition("(")  # NAME or NAME(GID)
        if not _has_group(tree, name):
            extra = ["--gid", gid] if gid else []
            tree.run(
                ["groupadd", *extra, "--", name],
                what=f"user {data.name}: group {name} ({command.where})",
            )
    if data.groups:
        argv += ["--groups", ",".join(entry.partition("(")[0] for entry in data.groups)]
    tree.run([*argv, "--", data.name], what=f"user {data.name} ({command.where})")
    if data.password:
        _password(tree, data.name, data.password, data.isCrypted, command)
    if data.lock:
        tree.run(["passwd", "--lock", data.name], what=f"locking {data.name} ({command.where})")


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
    # By standard input: an argument would stand in the log and in the list of processes.
    tree.run(
        ["chpasswd", *(["--encrypted"] if crypted else [])],
        what=f"setting the password of {user} ({command.where})",
        stdin=f"{user}:{password}\n",
    )


def _sshkey(tree: Tree, command: Command) -> None:
    user, key = command.data.username, command.data.key
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
    tree.write(file, tree.read(file) + key.strip() + "\n", mode=0o600)
    tree.run(
        ["chown", "-h", f"{uid}:{gid}", f"{home}/.ssh", file],
        what=f"sshkey of {user} ({command.where})",
    )


def _has_group(tree: Tree, name: str) -> bool:
    return any(line.split(":")[0] == name for line in tree.read("/etc/group").splitlines())


def _has_gid(tree: Tree, gid: int) -> bool:
    return any(line.split(":")[2:3] == [str(gid)] for line in tree.read("/etc/group").splitlines())
