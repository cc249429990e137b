"""The packages of a tree, from its own package manager's database."""

from __future__ import annotations

from imagebuilder.engines.direct import packages as dpkg
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.errors import StepError
from imagebuilder.image import Package, PackageList

_FORMAT = "%{NAME}\\t%{EVR}\\t%{ARCH}\\t%{SOURCERPM}\\t%{SIZE}\\n"
_RPM = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")


def listed(tree: Tree) -> PackageList:
    """Return what is installed.

    Raises:
        StepError: the tree has neither rpm's nor dpkg's database, or it cannot be read.
    """
    if tree.exists("/usr/bin/rpm") and any(tree.exists(each) for each in _RPM):
        found = _rpm(tree)
        if found.packages:
            return found
    if tree.exists("/var/lib/dpkg/status") and tree.exists("/usr/bin/dpkg-query"):
        return dpkg.listed(tree)
    raise StepError(
        "nothing says which packages are installed: there is neither rpm's database nor dpkg's",
        fix="see that %packages brings rpm, and that no %post removes its database",
    )


def _rpm(tree: Tree) -> PackageList:
    result = tree.run(["rpm", "-qa", "--qf", _FORMAT], what="listing the packages", keep=1 << 20)
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    made = [
        Package(
            name=row[0],
            version=row[1].removeprefix("(none):"),
            arch=row[2],
            source="" if row[3] == "(none)" else row[3],
            size=int(row[4] or 0),
        )
        # The keys of repositories are kept as packages.
        for row in rows
        if len(row) == 5 and row[0] != "gpg-pubkey"
    ]
    made.sort(key=lambda each: (each.name, each.arch, each.version))
    return PackageList(manager="rpm", packages=tuple(made))
