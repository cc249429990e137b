"""``selinux``: the mode that the image asks for.

Debian's kernels have SELinux, and start it only with ``security=selinux`` on their command line.
The files of an image have no labels: they would be extended attributes of a kind that only a
host's real root can write, so that another user's build would give other bytes.
"""

from __future__ import annotations

from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import InputError
from imagebuilder.kickstart import Command, Kickstart

PACKAGES = ("selinux-basics", "selinux-policy-default")
ARGUMENT = "security=selinux"


def mode(command: Command) -> str:
    """Return ``disabled``, ``permissive``, ``enforcing``, or "" if the line says nothing."""
    names = ("disabled", "permissive", "enforcing")
    return next((n for n in names if any(o.startswith(f"--{n[:2]}") for o in command.options)), "")


def problem(kickstart: Kickstart, kernel_args: tuple[str, ...]) -> InputError | None:
    """Return what is wrong with the last line, or None."""
    command = kickstart.last("selinux")
    if command is None:
        return None
    if not mode(command):
        return InputError(
            "selinux says no mode", where=command.where, fix="add --permissive or --disabled"
        )
    if mode(command) == "permissive" and ARGUMENT not in kernel_args:
        return InputError(
            "selinux --permissive: Debian's kernel starts SELinux only when it is told to",
            where=command.where,
            fix=f'add: bootloader --append="{ARGUMENT}"',
        )
    return None


def configure(tree: Tree, command: Command) -> None:
    """Write the mode where the policy's tools look for it, selinux_config(5)."""
    tree.write(
        "/etc/selinux/config", f"SELINUX={mode(command)}\nSELINUXTYPE=default\nSETLOCALDEFS=0\n"
    )
