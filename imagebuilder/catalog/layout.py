"""Where things stand in a catalog, and the scripts with which machines boot from it.

The format as a whole is described in ``docs/catalog.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from imagebuilder.catalog.model import UNIT, Channel, Release, Role
from imagebuilder.image import boot_script

MARKER, INDEX, ROOT_SCRIPT = "catalog.json", "index.json", "root.ipxe"
CHANNELS = "channels.json"
COLLECTION = "gc.json"
SCRIPT_TYPE = "text/plain; charset=utf-8"

_GENERATION = re.compile(rb"^# channel generation ([0-9]{1,15})$", re.MULTILINE)


def blob_key(sha256: str) -> str:
    """Return the key of the blob with that digest."""
    return f"blobs/sha256/{sha256[:2]}/{sha256}"


def release_key(name: str, version: str) -> str:
    """Return the key of a release's manifest."""
    return f"releases/{name}/{version}.json"


def channel_key(name: str, channel: str) -> str:
    """Return the key of a channel's pointer."""
    return f"channels/{name}/{channel}.json"


def history_key(name: str, channel: str, first_generation: int) -> str:
    """Return the key of the page of a channel's history that starts with that generation."""
    return f"history/{name}/{channel}/{first_generation:08}.json"


def lease_key(lease_id: str) -> str:
    """Return the key of the lease of somebody who is publishing."""
    return f"leases/{lease_id}.json"


def host_key(name: str, host: str) -> str:
    """Return the key of a host's report which release of a recipe it runs."""
    return f"hosts/{name}/{host}.json"


def rules_key(name: str) -> str:
    """Return the key of a recipe's barriers, dead ends and rollouts."""
    return f"rules/{name}.json"


def approval_key(name: str, version: str, who: str) -> str:
    """Return the key of somebody's approval of a release."""
    return f"approvals/{name}/{version}/{who}.json"


def signature_key(name: str, version_or_channel: str) -> str:
    """Return the key of the signatures of a release, or of what a channel names."""
    return f"signatures/{name}/{version_or_channel}.json"


def attestations_key(name: str, version: str) -> str:
    """Return the key of the signed statements about a release."""
    return f"attestations/{name}/{version}.intoto.jsonl"


def script_key(name: str, version_or_channel: str) -> str:
    """Return the key of the script that boots a release, or what a channel names."""
    return f"boot/{name}/{version_or_channel}.ipxe"


def release_script(release: Release) -> bytes:
    """Return the script that boots a release.

    It names kernel, initrd and rootfs by digest, so that they belong together whatever is
    published meanwhile.
    """
    return _script(release, f"{release.name} {release.version}", "")


def channel_script(release: Release, channel: Channel) -> bytes:
    """Return the script that boots the release which a channel names.

    It notes the channel's generation, so that an older one never replaces a newer one.
    """
    title = f"{release.name} {channel.channel} {release.version}"
    return _script(release, title, f"# channel generation {channel.generation}\n")


def presigned_script(release: Release, title: str, base: str, paths: Mapping[Role, str]) -> str:
    """Return a script that boots a release by URLs that are signed.

    Args:
        release: which.
        title: what is shown while it boots.
        base: what the URLs of kernel, initrd and rootfs begin with; a caller cannot set another
            one, since the server's name is signed, too.
        paths: the rest of the URLs, by role.
    """
    first, _, rest = _boot_script(release, title, base, paths).partition("\n")
    return f"{first}\nclear base\n{rest}"


def script_generation(script: bytes) -> int:
    """Return the generation that a channel's script was made for; 0 when it says none."""
    found = _GENERATION.search(script)
    return int(found[1]) if found else 0


def root_script(public_url: str) -> bytes:
    """Return the script that tells all others where the catalog is.

    iPXE resolves relative URLs only: ``${cwduri}../../`` would stay in the requests as it is,
    and S3 refuses such paths.  This script is reached by a relative URL and stands in the top
    folder, so that its own ``${cwduri}`` is the catalog's.

    Args:
        public_url: the catalog's URL for machines whose iPXE does not know ``${cwduri}`` (those
            from before 2021), ending in a slash; "" if it is not known.
    """
    known = f"isset ${{base}} || set base {public_url}\n" if public_url else ""
    return (
        "#!ipxe\n"
        "# Tells the scripts below boot/ the URL of this folder.  For an iPXE from before 2021\n"
        "# it must be written here:  isset ${base} || set base http://HOST/FOLDER/\n"
        "isset ${base} || set base ${cwduri}\n"
        f"{known}"
    ).encode()


def _script(release: Release, title: str, note: str) -> bytes:
    paths = {each.role: blob_key(each.sha256) for each in release.artefacts if each.role in UNIT}
    text = _boot_script(release, title, "", paths)
    first, _, rest = text.partition("\n")
    return (
        f"{first}\n{note}"
        f"isset ${{base}} || chain --autofree ../../{ROOT_SCRIPT} ||\n"
        f"isset ${{base}} || echo The catalog's {ROOT_SCRIPT} must name the catalog's URL\n"
        f"{rest}"
    ).encode()


def _boot_script(release: Release, title: str, base: str, paths: Mapping[Role, str]) -> str:
    rootfs = next(each for each in release.artefacts if each.role == "rootfs")
    return boot_script(
        title=title,
        base=base,
        kernel=paths["kernel"],
        initrd=paths["initrd"],
        rootfs=paths["rootfs"],
        rootfs_sha256=rootfs.sha256,
        rootfs_size=rootfs.size,
        args=release.kernel_args,
    )
