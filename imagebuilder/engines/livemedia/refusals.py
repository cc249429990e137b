"""The kickstarts that livemedia-creator refuses, or that could not boot, said before it starts.

The rules are those of ``check_kickstart`` and ``calculate_disk_size`` in pylorax/creator.py, lorax
28 to 46.  What is merely missing is added instead: see :mod:`.mend`.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagebuilder.engines.base import Request
from imagebuilder.errors import InputError, joined

_OTHER_METHODS = ("cdrom", "harddrive", "hmc", "liveimg", "ostreecontainer")
_DISPLAYS = ("text", "cmdline", "graphical", "vnc")
_STORAGE = ("autopart", "logvol", "raid", "btrfs", "volgroup")
_ONE_ROOT = "livemedia-creator fills a single partition / (swap is passed over)"
# Without these nothing boots over the network; in Fedora and its kin.
NEEDED = ("kernel", "dracut-live", "dracut-network", "dracut-config-generic", "policycoreutils")
_FOR = {
    "kernel": "there would be no kernel",
    "dracut-live": "the initrd could not find a root on the network",
    "dracut-network": "the initrd would have no network",
    "dracut-config-generic": "the initrd would be for the build host alone",
    "policycoreutils": "files would have no SELinux labels (setfiles)",
}


def check(request: Request) -> None:
    """Refuse what livemedia-creator would refuse, or what makes no PXE image.

    Raises:
        InputError: with the file and line of everything that is wrong.
    """
    errors = list(_errors(request))
    if errors:
        raise joined(errors)


def _errors(request: Request) -> Iterator[InputError]:
    kickstart = request.kickstart
    for each in kickstart.commands:
        if each.name in _OTHER_METHODS:
            yield InputError(
                f"{each.name}: livemedia-creator installs from url, nfs and ostreesetup only",
                where=each.where,
                fix="name the repository with url --url=URL",
            )
        if each.name in _DISPLAYS:
            yield InputError(
                f"{each.name} is a display mode, which livemedia-creator sets itself",
                where=each.where,
                fix="take it out",
            )
        if each.name in _STORAGE:
            yield InputError(
                f"{each.name}: {_ONE_ROOT}",
                where=each.where,
                fix="take it out; a part / is added if there is none",
            )
    yield from _partitions(request)
    others = kickstart.all("nfs") or kickstart.all("ostreesetup")
    if others and not kickstart.all("url"):
        for each in kickstart.all("repo"):
            yield InputError(
                "repo is taken only with url",
                where=each.where,
                fix="name the main repository with url --url=URL",
            )
    for wish in kickstart.packages:
        if wish.excluded and wish.name in NEEDED and request.resolved.distro.family != "debian":
            yield InputError(
                f"without {wish.name} {_FOR[wish.name]}",
                where=wish.where,
                fix=f"take the line -{wish.name} out",
            )


def _partitions(request: Request) -> Iterator[InputError]:
    given = [each for each in request.kickstart.commands if each.name in ("part", "partition")]
    roots = [each for each in given if each.data.mountpoint == "/"]
    for each in given:
        if each.data.mountpoint not in ("/", "swap"):
            yield InputError(
                f"part {each.data.mountpoint}: {_ONE_ROOT}", where=each.where, fix="take it out"
            )
    for each in roots[1:]:
        yield InputError(
            f"part / stands twice: {_ONE_ROOT}; the first is in {roots[0].where}",
            where=each.where,
            fix="take one out",
        )
    for each in roots:
        if not each.data.size:
            yield InputError(
                "part / has no size, and livemedia-creator takes the image's size from it",
                where=each.where,
                fix="say part / --size=MIB",
            )
