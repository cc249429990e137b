"""The kickstarts that livemedia-creator refuses, said before it is started.

The rules are those of lorax' ``livemedia-creator`` with ``--make-pxe-live --no-virt``, versions
28 to 46 (its functions ``check_kickstart`` and ``calculate_disk_size``).
"""

from __future__ import annotations

from collections.abc import Iterator

from imagebuilder.kickstart import Kickstart
from imagebuilder.lint.finding import Finding, found
from imagebuilder.lint.subject import Subject

_METHODS = ("url", "nfs", "ostreesetup")
_OTHER_METHODS = ("cdrom", "harddrive", "hmc", "liveimg", "ostreecontainer")
_DISPLAYS = ("text", "cmdline", "graphical", "vnc")


def check(subject: Subject) -> Iterator[Finding]:
    """Look for what livemedia-creator ends with, if it is what makes the image."""
    if subject.is_debian:
        return
    kickstart = subject.kickstart
    recipe = subject.resolved.place("kickstarts")
    methods = [each for each in kickstart.commands if each.name in _METHODS]
    for each in kickstart.commands:
        if each.name in _OTHER_METHODS:
            text = f"{each.name}: livemedia-creator installs from url, nfs and ostreesetup only"
            yield found("IB111", text, each.where, fix="name the repository with url")
        if each.name in _DISPLAYS:
            text = f"{each.name} is a display mode, which livemedia-creator sets itself"
            yield found("IB111", text, each.where, fix="take it out")
    # What is missing the livemedia engine adds.
    is_mended = subject.resolved.recipe.engine == "livemedia"
    mirrors = subject.resolved.project.settings.mirrors.get(subject.resolved.distro.id)
    if not methods and not (is_mended and mirrors):
        text = "nothing says where to install from: livemedia-creator wants url"
        yield found("IB111", text, recipe, fix="add: url --url=URL, with its repositories as repo")
    for each in kickstart.all("repo"):
        if not kickstart.all("url") and not (is_mended and mirrors):
            yield found("IB111", "repo is taken only with url", each.where, fix="add: url --url=")
    is_remote = any(each.name in ("url", "nfs") for each in methods)
    if is_remote and not kickstart.all("network") and not is_mended:
        text = "the network is not activated, which installing from url and nfs needs"
        yield found("IB111", text, methods[0].where, fix="add: network --bootproto=dhcp --activate")
    yield from _partitions(kickstart, subject)


def _partitions(kickstart: Kickstart, subject: Subject) -> Iterator[Finding]:
    rule = "livemedia-creator fills a single partition / (swap is passed over)"
    for name in ("autopart", "logvol", "raid", "btrfs", "volgroup", "reqpart"):
        for each in kickstart.all(name):
            yield found("IB111", f"{name}: {rule}", each.where, fix="use: part / --size=MIB")
    given = [each for each in kickstart.commands if each.name in ("part", "partition")]
    kept = [each for each in given if each.data.mountpoint != "swap"]
    roots = [each for each in kept if each.data.mountpoint == "/"]
    for each in kept:
        if each.data.mountpoint != "/":
            yield found(
                "IB111", f"part {each.data.mountpoint}: {rule}", each.where, fix="take it out"
            )
    for each in roots[1:]:
        yield found(
            "IB111",
            f"part / stands twice: {rule}",
            each.where,
            fix="take one out",
            also=(roots[0].where,),
        )
    is_mended = subject.resolved.recipe.engine == "livemedia"
    if not roots and not kickstart.all("autopart") and not is_mended:
        text = f"there is no part /: {rule}, and takes the disk's size from it"
        yield found(
            "IB111",
            text,
            subject.resolved.place("kickstarts"),
            fix="add: part / --fstype=ext4 --size=MIB",
        )
