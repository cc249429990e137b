"""Apply the kickstart's commands to the tree, in the order in which Anaconda does."""

from __future__ import annotations

from imagebuilder.engines.direct import (
    accounts,
    certificates,
    clock,
    files,
    firewall,
    language,
    network,
    selinux,
    services,
)
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.kickstart import Kickstart


def configure(
    tree: Tree, kickstart: Kickstart, copies: tuple[files.Copy, ...] = ()
) -> tuple[str, ...]:
    """Apply all commands, and copy the recipe's files.

    The files come when their owners are there, and before the units among them are enabled.

    Args:
        tree: the image.
        kickstart: whose commands.
        copies: what ``[[files]]`` comes to.

    Returns:
        notes on what came to nothing.

    Raises:
        StepError: a command cannot be applied to what is installed; with its file and line.
    """
    notes: list[str] = []
    lang, keyboard, mode = (kickstart.last(name) for name in ("lang", "keyboard", "selinux"))
    if lang:
        language.configure_lang(tree, lang)
    if keyboard:
        notes += language.configure_keyboard(tree, keyboard)
    if mode:
        selinux.configure(tree, mode)
    clock.configure(tree, kickstart)
    network.configure(tree, kickstart.all("network"))
    firewall.configure(tree, kickstart.all("firewall"))
    accounts.configure(tree, kickstart)
    certificates.configure(tree, kickstart)
    files.copy_all(tree, copies)
    notes += services.configure(tree, kickstart)
    return tuple(notes)
