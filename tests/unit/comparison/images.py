"""Small images that can be read: a real squashfs, a real initrd, and the files beside them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from imagebuilder import cpio
from imagebuilder.image import (
    EROFS,
    FACTS,
    ROOTFS,
    Image,
    ImageFacts,
    Package,
    PackageList,
    artefact_names,
    measure,
)

TIME = 1_700_000_000

# What an image has at first.  A path that ends in a slash is a folder; "-> X" a link to X.
TREE = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nal:x:1000:1000::/home/al:/bin/sh\n",
    "etc/shadow": "root:!:1::::::\nal:$6$first:1::::::\n",
    "etc/group": "root:x:0:\nadm:x:4:\nal:x:1000:\n",
    "etc/motd": "hello\n",
    "etc/secret": "one\n",
    "etc/nftables.conf": "table a\n",
    "etc/systemd/system/": "",
    "etc/systemd/system/multi-user.target.wants/ssh.service": "-> /lib/systemd/system/ssh.service",
    "usr/lib/systemd/system/ssh.service": "[Unit]\n",
    "usr/lib/systemd/system/chrony.service": "[Unit]\n",
    "usr/lib/systemd/system/getty@.service": "[Unit]\n",
    "usr/lib/systemd/system/default.target": "-> multi-user.target",
    "var/lib/dpkg/status": "vim\n",
    "var/lib/dpkg/info/vim.list": "/.\n/usr/bin/vim\n",
    "usr/bin/vim": "an editor\n",
}
INITRD = {
    "init": "#!/bin/sh\n",
    "usr/lib/modules/6.1.0/kernel/drivers/net/virtio_net.ko": "driver\n",
    "usr/lib/dracut/modules.txt": "base\nlivenet\n",
    "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
}
PACKAGES = {"base-files": "12.4", "vim": "2:9.0-1"}
KICKSTART = """\
lang C.UTF-8
firewall --enabled --port=22:tcp
%packages
vim
%end
"""
REPORT: dict[str, Any] = {
    "passed": True,
    "boots": [
        {
            "path": "pxe-bios",
            "passed": True,
            "seconds_to_multi_user": 10.0,
            "checks": [{"title": "ssh", "outcome": "passed"}],
        }
    ],
}
_MODES = {"etc/secret": 0o640, "etc/shadow": 0o640}


def make(
    folder: Path,
    *,
    name: str = "base",
    tree: dict[str, str | None] | None = None,
    initrd: dict[str, str | None] | None = None,
    packages: dict[str, str | None] | None = None,
    kickstart: str = KICKSTART,
    report: dict[str, Any] | None = None,
    modes: dict[str, int] | None = None,
    owner: int = 0,
    rootfs: str = ROOTFS,
    **facts: Any,
) -> Image:
    """Make an image that is other than the first in what is given; None takes away.

    Args:
        folder: where ``build/NAME/ID`` is made.
        name: the recipe.
        tree: files of the root file system.
        initrd: files of the initrd.
        packages: installed packages with their versions.
        kickstart: what it was made from.
        report: what its test found; ``{}``: it was not tested.
        modes: permissions of files of the root file system.
        owner: the UID of all of them.
        rootfs: the name of the root file system, which says what it is.
        facts: what of ``image.json`` is other.
    """
    said = repr((name, tree, initrd, packages, kickstart, report, modes, owner, rootfs, facts))
    image_id = hashlib.sha256(said.encode()).hexdigest()[:16]
    path = folder / "build" / name / image_id
    path.mkdir(parents=True)
    _root(path, {**TREE, **(tree or {})}, {**_MODES, **(modes or {})}, owner, rootfs)
    (path / "initrd.img").write_bytes(
        cpio.archive(
            [
                cpio.Entry(path=each, content=text.encode(), mode=0o644)
                for each, text in {**INITRD, **(initrd or {})}.items()
                if text is not None
            ]
        )
    )
    (path / "vmlinuz").write_text(str(facts.get("kernel_release", "6.1.0")))
    (path / "boot.ipxe").write_text("#!ipxe\n")
    (path / "kickstart.ks").write_text(kickstart)
    installed = {**PACKAGES, **(packages or {})}
    listed = PackageList(
        packages=tuple(
            Package(name=each, version=version, arch="amd64")
            for each, version in sorted(installed.items())
            if version is not None
        )
    )
    (path / "packages.json").write_text(listed.model_dump_json())
    components = [
        {"bom-ref": f"{each.name}:amd64", "name": each.name, "purl": f"pkg:deb/{each.version}"}
        for each in listed.packages
    ]
    (path / "sbom.cdx.json").write_text(json.dumps({"components": components}))
    if report != {}:
        (path / "smoke").mkdir()
        (path / "smoke/report.json").write_text(json.dumps(report or REPORT))
    made = ImageFacts.model_validate(
        {
            "id": image_id,
            "recipe": name,
            "distro": "debian-12",
            "engine": "direct",
            "created": "2026-01-02T03:04:05Z",
            "kernel_release": "6.1.0",
            "kernel_args": ["quiet"],
            "tree_size": 1_000_000,
            "package_count": len(listed.packages),
            "artefacts": [measure(path / each) for each in artefact_names(rootfs)],
            "steps": [],
            "tools": {},
        }
        | facts
    )
    (path / FACTS).write_text(made.model_dump_json())
    return Image.open(path)


def _root(
    path: Path, tree: dict[str, str | None], modes: dict[str, int], owner: int, rootfs: str
) -> None:
    root = path / "tree"
    for name, text in tree.items():
        if text is None:
            continue
        there = root / name
        if name.endswith("/"):
            there.mkdir(parents=True, exist_ok=True)
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            there.symlink_to(text.removeprefix("-> "))
        else:
            there.write_text(text)
            there.chmod(modes.get(name, 0o644))
    if rootfs == EROFS:
        argv = [
            "mkfs.erofs", "--quiet", "-zlz4", f"--force-uid={owner}", "--force-gid=0",
            str(path / rootfs), str(root),
        ]  # fmt: skip
    else:
        argv = [
            "mksquashfs", str(root), str(path / rootfs), "-quiet", "-no-progress",
            "-force-uid", str(owner), "-force-gid", "0", "-processors", "1",
        ]  # fmt: skip
    subprocess.run(
        argv,
        check=True,
        capture_output=True,
        timeout=60,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(TIME)},
    )
    shutil.rmtree(root)
