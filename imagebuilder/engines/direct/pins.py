"""``repo --includepkgs`` and ``--excludepkgs``: pins in apt's preferences, apt_preferences(5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from imagebuilder.command import redact
from imagebuilder.engines.direct.repository import Repository
from imagebuilder.errors import InputError, joined

# What a Release file says of a repository, and the letter that a pin has for it.
_FIELDS = (("Origin", "o"), ("Label", "l"), ("Suite", "a"), ("Codename", "n"), ("Version", "v"))

Target = Mapping[str, str]


def read_targets(text: str) -> list[Target]:
    """Read what ``apt-get indextargets`` says of each index: fields, as in an e-mail's head."""
    stanzas = (
        dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line)
        for stanza in text.split("\n\n")
    )
    return [each for each in stanzas if each.get("Created-By") == "Packages"]


def preferences(repositories: Sequence[Repository], targets: Sequence[Target]) -> str:
    """Return the text of apt's preferences.

    Args:
        repositories: all that the kickstart names.
        targets: what apt knows of all indices that it has, these and others.

    Raises:
        InputError: apt could not tell a repository from another one.
    """
    problems: list[InputError] = []
    stanzas: list[str] = []
    for each in repositories:
        if not each.include and not each.exclude:
            continue
        own = [target for target in targets if _is_of(target, each)]
        others = [target for target in targets if not _is_of(target, each)]
        pin = next((pin for pin in _candidates(own) if not _matches_any(pin, others)), None)
        if pin is None:
            problems.append(
                InputError(
                    f"repo --name={each.name}: apt cannot tell its packages from those of "
                    "another source, so that it cannot leave some of them out",
                    where=each.where,
                    fix="apt goes by Origin, Label, Suite and Codename of the repository's "
                    "Release file, or else by its host: one of them must be its own",
                )
            )
            continue
        stanzas += _stanzas(each, pin)
    if problems:
        raise joined(problems)
    return "\n".join(stanzas)


def _is_of(target: Target, repository: Repository) -> bool:
    url = redact(target.get("Repo-URI", "")).rstrip("/")
    return url == redact(repository.url).rstrip("/") and target.get("Release") == repository.suite


_Pin = tuple[tuple[str, str], ...]  # the fields that must be so


def _candidates(own: Sequence[Target]) -> Iterator[_Pin]:
    if not own:
        return
    fields = tuple((name, own[0][name]) for name, _ in _FIELDS if own[0].get(name))
    if fields and not any("," in value or "\n" in value for _, value in fields):
        yield fields
    yield (("Site", _host(own[0].get("Site", ""))),)


def _matches_any(pin: _Pin, targets: Sequence[Target]) -> bool:
    return any(all(_field(target, name) == value for name, value in pin) for target in targets)


def _field(target: Target, name: str) -> str:
    value = target.get(name, "")
    return _host(value) if name == "Site" else value


def _host(site: str) -> str:
    return site.partition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")[0]


def _stanzas(repository: Repository, pin: _Pin) -> Iterator[str]:
    letters = dict(_FIELDS)
    if pin[0][0] == "Site":
        text = f'origin "{pin[0][1]}"'
    else:
        text = "release " + ",".join(f"{letters[name]}={value}" for name, value in pin)
    wanted = (
        (repository.exclude, -1),
        (repository.include, 500),
        (("*",) if repository.include else (), -1),
    )
    for names, priority in wanted:
        if names:
            yield f"Package: {' '.join(names)}\nPin: {text}\nPin-Priority: {priority}\n"
