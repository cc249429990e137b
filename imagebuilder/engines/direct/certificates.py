"""``%certificate``: files with certificates, and authorities that the image trusts."""

from __future__ import annotations

from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import InputError
from imagebuilder.kickstart import Kickstart, Section

_ANCHORS = "/usr/local/share/ca-certificates"  # update-ca-certificates(8)
_BEGIN = "-----BEGIN CERTIFICATE-----"


def problem(section: Section) -> InputError | None:
    """Return what is wrong with a section, or None."""
    name, folder, kind = _said(section)
    fix = ""
    if not name or "/" in name or name in (".", "..") or not name.isprintable():
        what, fix = f"--filename={name} is no name of a file", "a name without folders"
    elif folder and (not folder.startswith("/") or ".." in folder.split("/")):
        what = f"--dir={folder} is no absolute path"
    elif kind not in ("", "anchor"):
        what, fix = f"--type={kind} is unknown", "the one type that there is: anchor"
    elif not any(line.text.strip() == _BEGIN for line in section.body):
        what, fix = "the section holds no certificate", f"it begins with a line {_BEGIN}"
    else:
        return None
    return InputError(f"%certificate: {what}", where=section.where, fix=fix)


def needs_trust(section: Section) -> bool:
    """Return whether a section names an authority that the image is to trust."""
    return section.name == "%certificate" and _said(section)[2] == "anchor"


def _said(section: Section) -> tuple[str, str, str]:
    return section.value("--filename"), section.value("--dir"), section.value("--type")


def configure(tree: Tree, kickstart: Kickstart) -> None:
    """Write the files.

    Raises:
        StepError: the image has no ca-certificates, which the trust in an authority rests on.
    """
    anchors = False
    for section in kickstart.sections:
        if section.name != "%certificate":
            continue
        name, folder, kind = _said(section)
        text = "".join(f"{line.text}\n" for line in section.body)
        if folder:
            tree.write(f"{folder}/{name}", text)
        if kind == "anchor":
            # No other ending is looked at there.
            tree.write(f"{_ANCHORS}/{name.rpartition('.')[0] or name}.crt", text)
            anchors = True
    if anchors:
        tree.run(["update-ca-certificates"], what="%certificate --type=anchor")
