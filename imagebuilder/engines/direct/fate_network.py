"""The fate of each option of ``network`` and ``firewall``."""

from __future__ import annotations

from imagebuilder.engines.direct.fate_kinds import Row, honoured, idle, refused

_NO_WIFI = refused(
    "systemd-networkd does not join wireless networks", "a machine that boots by PXE has a cable"
)
_NO_TEAM = refused(
    "systemd-networkd makes no team devices", "make a bond: --bondslaves and --bondopts"
)
_OWN_NETWORK = idle("the network of the build is that of the host")
_SHORT = honoured("as `--service` with that name")

NETWORK = Row(
    honoured("files of systemd-networkd, and the host's name; see [network.md](network.md)"),
    {
        "--activate": _OWN_NETWORK,
        "--bindto": honoured("`mac`, with a MAC address as `--device`; else without effect"),
        "--bondopts": honoured("options of the kernel's bonding driver"),
        "--bondslaves": honoured("the members of a bond"),
        "--bootproto": honoured("`dhcp`, `static`, or `bootp`, which is DHCP; others are refused"),
        "--bridgeopts": honoured("properties of a bridge, as NetworkManager names them"),
        "--bridgeslaves": honoured("the ports of a bridge"),
        "--device": honoured("a name, a MAC address, `link`, `bootif`, or a pattern such as `en*`"),
        "--dhcpclass": honoured("the vendor class that DHCP sends"),
        "--essid": _NO_WIFI,
        "--ethtool": honoured("settings of udev, as far as systemd.link(5) has them"),
        "--gateway": honoured("the default router of IPv4"),
        "--hostname": honoured("`/etc/hostname`; of several lines the last"),
        "--interfacename": honoured("the name of a VLAN"),
        "--ip": honoured("the IPv4 address, with `--bootproto=static`; may have a prefix length"),
        "--ipv4-dns-search": honoured("domains to look short names up in"),
        "--ipv4-ignore-auto-dns": honoured("DHCP's name servers and domains are not used"),
        "--ipv6": honoured("an address with its prefix length (64 by default), `auto` or `dhcp`"),
        "--ipv6-dns-search": honoured("as `--ipv4-dns-search`"),
        "--ipv6-ignore-auto-dns": honoured("those of DHCPv6 and of routers are not used"),
        "--ipv6gateway": honoured("the default router of IPv6"),
        "--mtu": honoured("bytes; what is beneath the device gets as much"),
        "--nameserver": honoured("name servers; needs the package systemd-resolved"),
        "--netmask": honoured("a mask or a prefix length"),
        "--no-activate": _OWN_NETWORK,
        "--nodefroute": honoured("no default route leads through the device"),
        "--nodns": honoured("name servers that DHCP or routers name are not used"),
        "--noipv4": honoured("no IPv4 address"),
        "--noipv6": honoured("no IPv6 address, not even one of the link"),
        "--notksdevice": idle("no installer fetches a kickstart"),
        "--onboot": honoured("`no`: it is not brought up at boot, but by `networkctl up`"),
        "--teamconfig": _NO_TEAM,
        "--teamslaves": _NO_TEAM,
        "--vlanid": honoured("a VLAN on `--device`, named DEVICE.ID"),
        "--wepkey": _NO_WIFI,
        "--wpakey": _NO_WIFI,
    },
)

FIREWALL = Row(
    honoured("a ruleset of nftables; needs the package nftables; see [network.md](network.md)"),
    {
        "--disable": honoured("as `--disabled`"),
        "--disabled": honoured("no ruleset is loaded"),
        "--enable": honoured("as `--enabled`"),
        "--enabled": honoured("what no line names is turned away"),
        "--ftp": _SHORT,
        "--http": _SHORT,
        "--port": honoured("`22:tcp`, `5900-5999:tcp`, `imap:tcp`; tcp, udp, sctp or dccp"),
        "--remove-service": honoured("takes out what earlier lines let in by `--service`"),
        "--service": honoured("firewalld's names of services"),
        "--smtp": _SHORT,
        "--ssh": _SHORT,
        "--trust": honoured("everything may come in by this interface"),
        "--use-system-defaults": honoured("the package's own ruleset stays as it is"),
    },
)
