"""An initrd that others made learns to boot no other root than the one that is named.

What our module of dracut brings is appended as an archive of its own, which the kernel unpacks
over the first (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from imagebuilder.cpio import Entry, archive
from imagebuilder.engines.direct.initrd import module_file
from imagebuilder.engines.direct.tree import Tree
from imagebuilder.engines.livemedia.kernel import initrd_paths

_HOOK, _HANDLER = "parse-livenet.sh", "livenetroot"  # of dracut's livenet, which ours stand beside
_OURS = "imagebuilderroot"
_PROGRAMS = ("sha256sum", "wc")  # beside what livenet and dracut itself need
_FOLDERS = ("usr/bin", "bin", "usr/sbin", "sbin")
_LIBRARY = re.compile(r"(/\S+) \(0x")  # of what ldd(1) prints
_ALIGNMENT = 512  # the kernel wants 4; cpio(1) ends archives so


def add(tree: Tree, initrd: Path, scratch: Path) -> str:
    """Append to an initrd what compares the root with the kernel's command line.

    Args:
        tree: the image; programs that the initrd lacks are taken from it.
        initrd: the file; it is added to.
        scratch: a folder for what is in between.

    Returns:
        "", or why that was not possible, for people.

    Raises:
        StepError: the initrd is damaged.
    """
    paths = initrd_paths(initrd, scratch)
    if paths is None:
        return "the machine does not check its root: this host cannot read the initrd"
    hook, handler = _folder(paths, _HOOK), _folder(paths, _HANDLER)
    if not hook or not handler:
        return "the machine does not check its root: the initrd has no livenet"
    if _folder(paths, _OURS):
        return ""  # our module of dracut is in the image itself
    try:
        more = list(_lacking(tree, paths))
    except FileNotFoundError as error:
        return f"the machine does not check its root: the image has no {error}"
    added = archive(
        [
            Entry(path=f"{hook}/31-imagebuilder.sh", content=module_file("take-over.sh")),
            Entry(path=f"{handler}/{_OURS}", content=module_file("fetch.sh")),
            *more,
        ]
    )
    with initrd.open("ab") as file:
        file.write(bytes(-file.tell() % _ALIGNMENT) + added)
    return ""


def _folder(paths: Collection[str], name: str) -> str:
    """Return the folder of the file that is called so, or ends so; "" if there is none."""
    return next(
        (str(Path(each).parent) for each in sorted(paths) if each.endswith(name)),
        "",
    )


def _lacking(tree: Tree, paths: Collection[str]) -> Iterator[Entry]:
    """Give the programs that an initrd lacks, and the libraries that it lacks for them.

    Raises:
        FileNotFoundError: the image lacks one, too.
    """
    there = {_merged(each) for each in paths}
    for name in _PROGRAMS:
        if any(f"{folder}/{name}" in paths for folder in _FOLDERS):
            continue
        places = [f"/{folder}/{name}" for folder in _FOLDERS]
        inside = next((each for each in places if tree.exists(each)), "")
        if not inside:
            raise FileNotFoundError(name)
        # It fails for a program that needs no libraries.
        listed = tree.run(["ldd", inside], what="ldd", logged=False, check=False).stdout
        for each in [inside, *_LIBRARY.findall(listed)]:
            path = _merged(each.removeprefix("/"))
            if path not in there:
                there.add(path)
                yield Entry(path=path, content=tree.path(each).read_bytes())


def _merged(path: str) -> str:
    """Return a path as it is where /bin, /sbin and /lib are links into /usr."""
    return path if path.startswith("usr/") else re.sub(r"^(s?bin|lib\w*)/", r"usr/\1/", path)
