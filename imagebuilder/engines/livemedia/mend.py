"""What a kickstart lacks to be accepted by livemedia-creator and Anaconda is added, and said.

Fragments are made to be put together: each may have a line of ``services`` and a ``%packages``
of its own.  Anaconda heeds the last ``services`` alone, and the options of the last ``%packages``
alone; so these are put together, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imagebuilder.engines.base import Request
from imagebuilder.engines.livemedia.refusals import NEEDED
from imagebuilder.errors import InputError, Location
from imagebuilder.kickstart import Kickstart
from imagebuilder.kickstart.lines import Line
from imagebuilder.kickstart.parse import parse

ADDED = Location(file="(added by imagebuilder)")
_METHODS = ("url", "nfs", "ostreesetup")
_ENDINGS = ("halt", "reboot", "poweroff")
# What an installer that nobody answers must know.
_DEFAULTS = {
    "lang": "lang en_US.UTF-8",
    "keyboard": "keyboard us",
    "timezone": "timezone --utc Etc/UTC",
    "rootpw": "rootpw --lock",
}
_HEEDED_ONCE = ("firewall",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """A kickstart that livemedia-creator accepts.

    Attributes:
        kickstart: the whole.
        notes: for people: what was added or changed.
    """

    kickstart: Kickstart
    notes: tuple[str, ...]


def mend(request: Request) -> Mended:
    """Return the kickstart with what it lacks.

    Raises:
        InputError: nothing says where to install from.
    """
    kickstart = request.kickstart
    notes: list[str] = []
    lines = list(_kept(request, notes))
    added: list[str] = []
    for what, texts in (
        ("where to install from", _method(request)),
        ("network", _network(request)),
        ("part", _part(request)),
        ("shutdown", _shutdown(request)),
        ("answers", _answers(kickstart)),
        ("services", _services(kickstart)),
    ):
        if texts:
            added += texts
            notes.append(
                f"the kickstart lacks {_LACKS.get(what, what)}, so this was added: "
                f"{'; '.join(texts)}"
                if what != "services"
                else f"several lines of services, of which Anaconda heeds the last alone, "
                f"were put together: {texts[0]}"
            )
    packages, said = _packages(request)
    notes += said
    whole = [
        *lines,
        *(Line(each, ADDED) for each in (*added, *packages)),
    ]
    for name in _HEEDED_ONCE:
        several = kickstart.all(name)
        if len(several) > 1:
            notes.append(f"{several[-1].where}: of several lines of {name} Anaconda heeds this one")
    return Mended(kickstart=parse(whole, kickstart.version), notes=tuple(notes))


_LACKS = {
    "network": "a network, which installing from there needs",
    "part": "a part /",
    "shutdown": "shutdown at its end",
    "answers": "answers that Anaconda would ask for",
}


def _kept(request: Request, notes: list[str]) -> Iterator[Line]:
    """Give the lines that stay; each that goes is said."""
    gone = {}
    if request.resolved.recipe.livemedia.mode == "virt":
        gone = {
            (each.where, each.text): each
            for name in _ENDINGS
            for each in request.kickstart.all(name)
        }
    services = request.kickstart.all("services")
    merged = {(each.where, each.text) for each in services} if len(services) > 1 else set()
    for line in request.kickstart.lines:
        key = (line.where, line.text)
        if key in gone:
            notes.append(
                f"{line.where}: {gone[key].name} was left out: a virtual installation "
                "ends with shutdown"
            )
        elif key not in merged:
            yield line


def _method(request: Request) -> list[str]:
    kickstart, resolved = request.kickstart, request.resolved
    if any(kickstart.all(name) for name in _METHODS):
        return []
    mirrors = resolved.project.settings.mirrors.get(resolved.distro.id, [])
    if not mirrors:
        raise InputError(
            "nothing says where to install from: livemedia-creator needs url, nfs or ostreesetup",
            where=resolved.place("kickstarts"),
            fix="add url --url=URL to a fragment, or a URL to the project file's [mirrors]: "
            f'{resolved.distro.id} = ["URL"]',
        )
    return [
        f"url --url={mirrors[0]}",
        *(f"repo --name=mirror-{n} --baseurl={url}" for n, url in enumerate(mirrors[1:], 2)),
    ]


def _network(request: Request) -> list[str]:
    kickstart = request.kickstart
    urls = [each.data.url or "" for each in kickstart.all("url")]
    is_local = bool(urls) and all(each.startswith("file:") for each in urls)
    # 28 wants a network for file: as well; it harms nobody.
    if kickstart.all("network") or (is_local and request.resolved.distro.major != 8):
        return []
    return ["network --bootproto=dhcp --activate"]


def _part(request: Request) -> list[str]:
    given = [each for each in request.kickstart.commands if each.name in ("part", "partition")]
    if any(each.data.mountpoint == "/" for each in given):
        return []
    return [f"part / --fstype=ext4 --size={request.resolved.recipe.livemedia.root_size_mib}"]


def _shutdown(request: Request) -> list[str]:
    is_virt = request.resolved.recipe.livemedia.mode == "virt"
    return ["shutdown"] if is_virt and not request.kickstart.all("shutdown") else []


def _answers(kickstart: Kickstart) -> list[str]:
    return [text for name, text in _DEFAULTS.items() if not kickstart.all(name)]


def _services(kickstart: Kickstart) -> list[str]:
    given = kickstart.all("services")
    if len(given) < 2:
        return []
    state: dict[str, bool] = {}
    for each in given:
        state.update(dict.fromkeys(each.data.enabled, True))
        state.update(dict.fromkeys(each.data.disabled, False))
    words = ["services"]
    for option, wanted in (("enabled", True), ("disabled", False)):
        names = ",".join(name for name, is_on in state.items() if is_on is wanted)
        words += [f"--{option}={names}"] if names else []
    return [" ".join(words)]


def _packages(request: Request) -> tuple[list[str], list[str]]:
    """Return a last %packages section, with the options of all, and what is to be said of it."""
    kickstart = request.kickstart
    sections = [each for each in kickstart.sections if each.name == "%packages"]
    options = _options([each.words[1:] for each in sections])
    wanted = {each.name for each in kickstart.packages if not each.excluded}
    missing: list[str] = []
    if request.resolved.distro.package_manager == "dnf":
        missing = [name for name in NEEDED if name not in wanted]
        if not any(each.name == "dracut-config-rescue" for each in kickstart.packages):
            missing.append("-dracut-config-rescue")
    if not missing and len(sections) < 2:
        return [], []
    notes = []
    if missing:
        notes.append(f"packages that a PXE live image needs were added: {', '.join(missing)}")
    return [" ".join(["%packages", *options]), *missing, "%end"], notes


def _options(headers: Sequence[Sequence[str]]) -> list[str]:
    """Return the options of several headers, each once; of those with a value the last holds."""
    found: dict[str, list[str]] = {}
    for words in headers:
        name = ""
        for word in words:
            if word.startswith("-"):
                name = word.partition("=")[0]
                found[name] = [word]
            elif name:
                found[name].append(word)
    return [word for words in found.values() for word in words]
