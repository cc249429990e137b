"""The kernel's arguments: given twice, contradicting, or not a recipe's to give."""

from __future__ import annotations

from collections.abc import Iterator

from imagebuilder.errors import Location
from imagebuilder.image import check_args, root_args
from imagebuilder.lint.finding import Finding, found
from imagebuilder.lint.subject import Subject, words

# What may be given several times, each with a meaning of its own: kernel-parameters.txt of the
# kernel's documentation, dracut.cmdline(7), kernel-command-line(7).
_SEVERAL = frozenset(
    {
        "blacklist",
        "bond",
        "bridge",
        "console",
        "crashkernel",
        "dyndbg",
        "earlycon",
        "hugepages",
        "hugepagesz",
        "ifname",
        "initcall_blacklist",
        "ip",
        "memmap",
        "modprobe.blacklist",
        "nameserver",
        "netconsole",
        "pci",
        "pstore",
        "systemd.mask",
        "systemd.setenv",
        "systemd.wants",
        "team",
        "udev.blockdev_read_only",
        "usbcore.quirks",
        "video",
        "vlan",
    }
)
_SEVERAL_BEGIN = ("rd.", "earlyprintk", "systemd.set_credential")
_OPPOSITES = (
    ("ro", "rw"),
    ("quiet", "debug"),
    ("selinux=0", "enforcing=1"),
    ("apparmor=1", "security=selinux"),
)
# The names of what the boot script gives.
_OWN = frozenset(each.partition("=")[0] for each in (*root_args(""), *check_args("", 0)))


def arguments(subject: Subject) -> Iterator[tuple[str, Location]]:
    """Give the arguments of all ``bootloader --append`` and of the recipe, with their places."""
    for command in subject.kickstart.all("bootloader"):
        for word in words(command.data.appendLine or ""):
            yield word, command.where
    for n, word in enumerate(subject.resolved.recipe.kernel.args):
        yield word, subject.resolved.place(f"kernel.args.{n}")


def check(subject: Subject) -> Iterator[Finding]:
    """Compare each argument with those before it."""
    seen: dict[str, tuple[str, Location]] = {}
    for word, where in arguments(subject):
        name = _name(word)
        if name in _OWN:
            yield found("IB703", f"the boot script sets {name}= itself", where)
            continue
        may_repeat = name in _SEVERAL or name.startswith(_SEVERAL_BEGIN)
        before = seen.get(word if may_repeat else name)
        if before and before[0] == word:
            if not name.startswith("hugepages"):  # the same number for pages of another size
                text = f"kernel argument {word} is given here and at {before[1]}"
                yield found("IB701", text, where, also=(before[1],))
        elif before and not may_repeat:
            text = f"kernel argument {word} contradicts {before[0]} at {before[1]}"
            yield found("IB702", text, where, also=(before[1],))
        else:
            yield from _opposed(word, name, where, seen)
        seen[word if may_repeat else name] = (word, where)


def _name(word: str) -> str:
    """Return an argument's name; the kernel takes ``-`` for ``_`` (kernel-parameters.txt)."""
    return word.partition("=")[0].replace("-", "_")


def _opposed(
    word: str, name: str, where: Location, seen: dict[str, tuple[str, Location]]
) -> Iterator[Finding]:
    others = [b if word == a else a for a, b in _OPPOSITES if word in (a, b)]
    if "=" not in word:
        others += [name.removeprefix("no"), f"no{name}"]
    for other in others:
        before = seen.get(_name(other))
        if before and before[0] == other and other != word:
            text = f"kernel argument {word} contradicts {other} at {before[1]}"
            yield found("IB702", text, where, also=(before[1],))
