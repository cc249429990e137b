"""``--device=bootif``, and ``link`` where it must be one interface: the machine tells at boot.

An image is made without the machine, so a unit finds the interface before networkd starts, and
gives it a second name that the ``.network`` file matches.
"""

from __future__ import annotations

from imagebuilder.engines.direct.network.files import CHOSEN
from imagebuilder.engines.direct.network.lines import BOOTIF

SCRIPT = "/usr/local/sbin/kickstart-network-names"
UNIT = "kickstart-network-names.service"

UNIT_TEXT = f"""\
# From the kickstart.
[Unit]
Description=Find the interface that the kickstart calls link or bootif
DefaultDependencies=no
After=systemd-udevd.service
Before=network-pre.target systemd-networkd.service shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={SCRIPT}

[Install]
WantedBy=sysinit.target
"""

_SCRIPT_HEAD = """\
#!/bin/sh
# From the kickstart: gives the interface that it calls link or bootif a second name.
#
# link is the first Ethernet port, by name, that has a link; the initrd has brought the one up
# that it fetched the root file system through.  bootif is the port whose address the boot
# loader put into BOOTIF= (pxelinux's IPAPPEND 2; in iPXE BOOTIF=01-${netX/mac:hexhyp}); without
# that it is taken for link.
set -eu

link=
for folder in /sys/class/net/*; do
    # Bridges, VLANs and so on have no device of their own; 1 is ARPHRD_ETHER.
    [ -e "$folder/device" ] && [ "$(cat "$folder/type")" = 1 ] || continue
    # Nobody can read the carrier of a port that is down.
    [ "$(cat "$folder/carrier" 2>/dev/null)" = 1 ] || continue
    link=${folder##*/}
    break
done

bootif=$link
for word in $(cat /proc/cmdline); do
    case $word in BOOTIF=*) ;; *) continue ;; esac
    mac=$(echo "${word#BOOTIF=}" | tr A-F- a-f:)
    [ ${#mac} -eq 17 ] || mac=${mac#??:}
    for folder in /sys/class/net/*; do
        [ -e "$folder/device" ] && [ "$(cat "$folder/address")" = "$mac" ] || continue
        bootif=${folder##*/}
    done
done

name() {
    if [ -z "$1" ]; then
        echo "no Ethernet port has a link: $2 is none" >&2
        exit 1
    fi
    ip link show dev "$2" >/dev/null 2>&1 || ip link property add dev "$1" altname "$2"
}
"""


def script(keys: tuple[str, ...]) -> str:
    """Return the script that names the interfaces that these keys mean."""
    lines = [f'name "${"bootif" if key == BOOTIF else "link"}" {CHOSEN[key]}' for key in keys]
    return "\n".join([_SCRIPT_HEAD, *lines, ""])
