"""``lang`` and ``keyboard``."""

from __future__ import annotations

import re

from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import StepError
from imagebuilder.kickstart import Command

_BUILT_IN = ("C", "POSIX", "C.UTF-8")
_LAYOUT = re.compile(r"([^ (]+)(?: ?\(([^)]*)\))?")


def locale_name(text: str) -> str:
    """Return a locale as glibc writes it: ``de_DE`` is ``de_DE.UTF-8`` to a kickstart."""
    name, dot, rest = text.partition(".")
    charset, at, modifier = rest.partition("@")
    if not dot:
        name, at, modifier = name.partition("@")
        charset = "" if name in _BUILT_IN else "UTF-8"
    if charset.lower() in ("utf8", "utf-8"):
        charset = "UTF-8"
    return f"{name}.{charset}{at}{modifier}" if charset else name


def needs_locales(command: Command) -> bool:
    """Return whether a ``lang`` line wants more than glibc has built in."""
    return any(locale_name(each) not in _BUILT_IN for each in _wanted(command))


def _wanted(command: Command) -> list[str]:
    return [command.data.lang, *(command.data.addsupport or [])]


def configure_lang(tree: Tree, command: Command) -> None:
    """Make the locales and set the first.

    Raises:
        StepError: the image has none of that name.
    """
    wanted = [locale_name(each) for each in _wanted(command)]
    made = [name for name in dict.fromkeys(wanted) if name not in _BUILT_IN]
    if made and not tree.installed("locales-all"):
        _make(tree, made, command)
    # Debian 13 makes the second a link to the first at every boot (its tmpfiles.d/debian.conf).
    tree.write("/etc/locale.conf", f"LANG={wanted[0]}\n")
    tree.link("/etc/default/locale", "../locale.conf")


def _make(tree: Tree, made: list[str], command: Command) -> None:
    if not tree.exists("/usr/sbin/locale-gen"):
        raise StepError(
            f"lang {made[0]}: the image has no locales to make it from",
            where=command.where,
            fix="add the package locales, or use lang C.UTF-8",
        )
    # Of some locales the file has two forms of a name: de_DE@euro ISO-8859-15.
    supported = [
        line.split() for line in tree.read("/usr/share/i18n/SUPPORTED").splitlines() if line
    ]
    lines = []
    for name in made:
        plain, _, modifier = name.partition("@")
        charset = plain.partition(".")[2]
        without = plain.partition(".")[0] + (f"@{modifier}" if modifier else "")
        line = next((row for row in supported if row in ([name, charset], [without, charset])), [])
        if not line:
            raise StepError(
                f"lang {name}: there is no such locale",
                where=command.where,
                fix="/usr/share/i18n/SUPPORTED of the package locales lists them",
            )
        lines.append(f"{' '.join(line)}\n")
    tree.write("/etc/locale.gen", "".join(lines))
    tree.run(["locale-gen"], what=f"making locales ({command.where})", timeout=600)


def configure_keyboard(tree: Tree, command: Command) -> tuple[str, ...]:
    """Write the console's keymap and the layouts, keyboard(5) and vconsole.conf(5).

    Returns:
        a note, if the image has nothing that gives the console another layout than the kernel's.
    """
    data = command.data
    layouts = [_LAYOUT.match(each) for each in data.x_layouts or []]
    names = [each[1] for each in layouts if each]
    variants = [each[2] or "" for each in layouts if each]
    console = data.vc_keymap or data.keyboard or (names[0] if names else "us")
    if not names:
        names, variants = [console.partition("-")[0]], [""]
    options = ",".join(getattr(data, "switch_options", None) or [])
    keymap = f"KEYMAP={console}\n"
    # Debian 13 makes the one a link to the other at every boot.
    is_one = "/etc/vconsole.conf" in tree.read("/usr/lib/tmpfiles.d/debian.conf")
    if is_one:
        tree.link("/etc/vconsole.conf", "default/keyboard")
    else:
        tree.write("/etc/vconsole.conf", keymap)
    tree.write(
        "/etc/default/keyboard",
        'XKBMODEL="pc105"\n'
        f'XKBLAYOUT="{",".join(names)}"\n'
        f'XKBVARIANT="{",".join(variants)}"\n'
        f'XKBOPTIONS="{options}"\n'
        'BACKSPACE="guess"\n' + (keymap if is_one else ""),
    )
    if (console, names) != ("us", ["us"]) and not tree.exists("/bin/setupcon"):
        return (
            f"{command.where}: the console keeps the layout us: what would change it is in the "
            "package console-setup",
        )
    return ()
