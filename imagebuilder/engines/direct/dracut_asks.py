"""What dracut may ask a tree for, as its scripts say.

Nobody knows beforehand which files dracut reads, but what it asks for is named somewhere: by a
script of its own, by its configuration, by a rule of udev or modprobe, or by a program that goes
into the initrd (its libraries).  So a path is asked for if its own name stands there, or fits a
pattern there, or if it lies in a folder of which all is taken.  A test holds this against a real
run of dracut, system call by system call.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

# Where dracut and its scripts are, and what they are told; the programs that rules of udev and
# modprobe name are taken as well.
_SOURCES = (
    "usr/lib/dracut",
    "usr/bin/dracut",
    "etc/dracut.conf",
    "etc/dracut.conf.d",
    "usr/lib/udev/rules.d",
    "etc/udev/rules.d",
    "usr/lib/modprobe.d",
    "etc/modprobe.d",
)
_LARGEST = 4 << 20  # bytes of one of these

# Of these all may be taken, or is read by programs that dracut runs: dracut-install, kmod,
# ldconfig, the dynamic linker, and what curl loads.
_WHOLE = re.compile(
    r"(usr/)?lib(32|64|x32)?(/(locale|ssl)?)?$"
    r"|(usr/)?lib/(dracut|firmware|locale|modules|modules-load\.d|modprobe\.d|ssl|sysctl\.d|udev)(/|$)"
    r"|(usr/)?lib(32|64|x32)?/([^/]+-linux-[^/]+/)?(ld[-.][^/]*$|gconv|sasl2)"
    r"|.*/glibc-hwcaps(/|$)"
    r"|etc/(dracut\.conf|ld\.so\.conf)(\.d)?(/|$)|etc/(modprobe\.d|udev)(/|$)|etc/ld\.so\.preload$"
    r"|etc/(ldap/ldap\.conf|ssl/openssl\.cnf)$|usr/share/locale/locale\.alias$|\.dockerenv$"
)
# What package managers keep of packages, and what only people and their shells read.  Of these
# dracut asks nothing, though names in them stand in its scripts.  The list of where libraries lie
# follows from them.
_RECORDS = re.compile(
    r"var/lib/dpkg/(info|alternatives|triggers)(/|$)|var/lib/dpkg/(status|diversions)(-old)?$"
    r"|var/lib/apt(/|$)|var/cache/(apt|debconf|ldconfig)(/|$)|var/log(/|$)|etc/ld\.so\.cache$"
    r"|etc/network/if-[a-z-]+\.d(/|$)"
    r"|usr/share/(bash-completion|bug|doc|doc-base|info|lintian|man|zsh)(/|$)"
    r"|usr/share/locale/(?!locale\.alias)[^/]+(/LC_MESSAGES(/[^/]+\.mo)?)?$"
)
# Folders that dracut's scripts name, but of which they take single files by name.
_SHARED = re.compile(
    r"(.*/)?(bin|boot|conf|default|dev|etc|home|init\.d|lib|lib32|lib64|libexec|libx32|local|opt|root"
    r"|run|sbin|share|srv|sys|system|systemd|tmp|user|usr|var)$"
)
_LIBRARY = re.compile(r"([^/]+?)\.so(\.[^/]*)?$")
_COMMENT = re.compile(rb"^[ \t]*#.*$", re.MULTILINE)
_TOKEN = re.compile(rb"[A-Za-z0-9_.+@:${}*?\[\]!^~%/-]+")
_QUOTES = b"\"'\\"
_OPTION = re.compile(rb"--?[A-Za-z0-9-]+$")
_AROUND = ".:!^~{}[]"  # of a name: a full stop, a brace of several names, a pattern's beginning
# What is put in when a script runs: variables, and wildcards of shells and udev.
_VARIABLE = re.compile(rb"\$\{[^}]*\}?|\$[A-Za-z0-9_@*#]*|\{\}|[*?]|\[[^\]]*\]?|%[A-Za-z]")
# Folders of additions to a unit of systemd, which belong to the unit.
_UNIT = re.compile(r"([^/]+\.[a-z]+)\.(d|wants|requires|upholds)$")
# Of a pattern, at least: one with fewer stands for all kinds of files in its folder.
_LETTERS, _LETTER = 4, re.compile(r"[A-Za-z0-9]")


@dataclass(frozen=True)
class Asks:
    """What dracut may ask one tree for.

    Attributes:
        names: of files, as they stand in scripts and configuration, with the folders that stand
            before them there.
        programs: the names alone: those of programs are looked for in all of PATH.
        patterns: of names, for :mod:`fnmatch`.
        endings: that scripts put behind names.
        folders: of which all may be taken: the ends of their paths, as they stand there.
    """

    names: frozenset[str]
    programs: frozenset[str]
    patterns: frozenset[str]
    endings: frozenset[str]
    folders: frozenset[str]

    def may_read(self, path: str) -> bool:
        """Return whether dracut may look at a path, beside those in the initrd.

        Args:
            path: relative to the root.
        """
        *above, name = path.split("/")
        prefixes = [[*above, name][: end + 1] for end in range(len(above) + 1)]
        return (
            bool(_WHOLE.match(path))
            or any(each in self.names for each in _ends([*above, name]))
            or (above[-1:] in (["bin"], ["sbin"]) and name in self.programs)
            or bool(self._fits.match(name))
            or any(
                name.removesuffix(each) in self.names
                for each in self.endings
                if name.endswith(each)
            )
            or any(each in self.folders for prefix in prefixes for each in _ends(prefix))
            or any(_UNIT.match(each) and _UNIT.sub(r"\1", each) in self.names for each in above)
        )

    @cached_property
    def _fits(self) -> re.Pattern[str]:
        return re.compile("|".join(map(fnmatch.translate, sorted(self.patterns))) or r"(?!)")


def read(tree: Path) -> Asks:
    """Return what dracut of a tree may ask that tree for.

    Args:
        tree: the root of an image.

    Raises:
        OSError: a script cannot be read.
    """
    names: set[str] = set()
    patterns: set[str] = set()
    endings: set[str] = set()
    folders: set[str] = set()
    tokens = {token for text in _texts(tree) for token in _TOKEN.findall(text)}
    for token in tokens:
        if not _OPTION.match(token):
            parts = token.split(b"/")
            spoken: list[str] = []  # of a path, since the last variable
            for part, after in zip(parts, [*parts[1:], b""], strict=True):
                fixed = _VARIABLE.sub(b"", part)
                if fixed != part:
                    spoken = []
                    _add_pattern(_VARIABLE.sub(b"*", part).lstrip(b"}").decode(), patterns, endings)
                elif part:
                    spoken.append(part.decode())
                    if not after:
                        names.update({"/".join(spoken), "/".join(spoken).strip(_AROUND)})
                    if len(parts) > 1 and (not after or _VARIABLE.search(after)):
                        folders.add("/".join(spoken))
    return Asks(
        names=frozenset(names - {""}),
        programs=frozenset(each.rsplit("/", 1)[-1] for each in names),
        patterns=frozenset(patterns),
        endings=frozenset(endings),
        folders=frozenset(each for each in folders if not _SHARED.match(each)),
    )


def is_record(path: str) -> bool:
    """Return whether nothing that dracut runs asks for a path, whatever its name is.

    Args:
        path: relative to the root.
    """
    return bool(_RECORDS.match(path))


def libraries(tree: Path) -> frozenset[str]:
    """Return the names of a tree's shared libraries, without their versions.

    Raises:
        OSError: a folder cannot be read.
    """
    found: set[str] = set()
    for place in ("usr", "lib", "lib32", "lib64", "libx32", "opt"):
        if not (tree / place).is_symlink():
            for _, _, names in os.walk(tree / place):
                found.update(library(name) for name in names if ".so" in name)
    return frozenset(found - {""})


def library(name: str) -> str:
    """Return what a file's name says of which shared library it is, without its version, or ""."""
    found = _LIBRARY.match(name)
    return found[1] if found else ""


def _ends(parts: list[str]) -> Iterator[str]:
    """Give the ends of a path: the last name, the last two, and so on."""
    return ("/".join(parts[start:]) for start in range(len(parts)))


def _add_pattern(pattern: str, patterns: set[str], endings: set[str]) -> None:
    ending = pattern.lstrip("*")
    if ending.startswith(".") and "*" not in ending:
        endings.add(ending)
    elif len(_LETTER.findall(pattern)) >= _LETTERS:
        patterns.add(pattern)


def _texts(tree: Path) -> Iterator[bytes]:
    for name in _SOURCES:
        place = tree / name
        for path in [place, *(place.rglob("*") if place.is_dir() else ())]:
            if path.name.startswith("README") or not path.is_file():
                continue
            if path.stat().st_size <= _LARGEST:
                text = _COMMENT.sub(b"", path.read_bytes())
                yield text
                # A word may go on behind a quote: "$fsck".ext4
                yield text.translate(None, _QUOTES)
