"""Lines of what runs in the initrd: dracut, its hooks, and ours."""

from __future__ import annotations

from imagebuilder.smoke.badness.kinds import EARLIER_LINES, MORE_MEMORY, Badness, bad

_LIVE_FIX = (
    "the initrd needs dracut's live modules: on Debian install dracut-live and dracut-network "
    "in the image and have dracut add livenet and dmsquash-live"
)
_INITRD_FIX = "see the console for what came before; build again if the initrd was replaced by hand"
_NETWORK_FIX = (
    "look whether the initrd has a driver for the network card, a DHCP client, curl and livenet"
)

INITRD: tuple[Badness, ...] = (
    bad(
        "fatal",
        r"imagebuilder: (the (?:initrd|root file system) has no modules for the kernel .*)",
        "{1}",
        "kernel, initrd and root file system must come from the same build: build again",
    ),
    bad(
        "warn",
        r"imagebuilder: (the root file system has no default\.target)",
        "{1}",
        "set it in the image: systemctl set-default multi-user.target",
    ),
    bad(
        "fatal",
        r"imagebuilder: (the root file system has no (?:os-release|\S+ that can be run).*)",
        "{1}",
        "look at what the image's scripts removed or replaced",
    ),
    bad(
        "fatal",
        r"imagebuilder: (the initrd has no driver for .*)",
        "{1}",
        "have dracut add the driver (add_drivers); tests have a virtio card unless the recipe says "
        "otherwise",
    ),
    bad(
        "fatal",
        r"imagebuilder: (the root file system (?:is (?:not there|refused|cut short|longer|another)|"
        r"has no |cannot be fetched).*)",
        "{1}",
        "look whether the server has the rootfs that the boot script names, and all of it",
    ),
    bad(
        "fatal",
        r"imagebuilder: (the guest has no room .*)",
        "{1}",
        MORE_MEMORY,
    ),
    bad(
        "fatal",
        r"imagebuilder: (the test's runner .*)",
        "{1}",
        "the report comes over virtio-serial: the image needs the module virtio_console",
    ),
    bad(
        "fatal",
        r"Don't know how to handle 'root=(live:\S*?)'",
        "the initrd cannot boot a live image: no dracut module takes root={1}",
        _LIVE_FIX,
    ),
    bad(
        "fatal",
        r"Don't know how to handle 'root=(.*?)'",
        "the initrd knows no way to mount root={1}",
        "look at the image's kernel arguments: one of them overrides the root",
    ),
    # mount(8) names no device here, since losetup gave it none.
    bad(
        "fatal",
        r"mount: .*bad superblock on ,|losetup: .*(?:cannot find an unused loop|no such device)",
        "the initrd has no loop device to mount the root file system from: the module loop is "
        "missing",
        "have dracut add it (add_drivers), or build the initrd for this very kernel",
    ),
    bad(
        "fatal",
        r"Can't find a valid SQUASHFS superblock|mount: .*(?:squashfs|rootfsbase): wrong fs type",
        "the root file system cannot be mounted: rootfs.squashfs is damaged, cut short or no "
        "squashfs",
        "build again; if it happens again, look at the log of mksquashfs",
    ),
    bad(
        "fatal",
        r"mount: .*unknown filesystem type '(\w+)'",
        "the initrd lacks the kernel's module for {1}",
        "have dracut add it (add_drivers), or build the initrd for this very kernel",
    ),
    bad(
        "warn",
        r"modprobe: FATAL: Module (\S+) not found",
        "a kernel module is missing: {1}",
        "have dracut add it (add_drivers), or install the package of kernel modules that has it",
    ),
    bad(
        "fatal",
        r"curl: \(23\)|[Ff]ailed writing (?:body|received data)",
        "the initrd has no room in memory for the root file system",
        MORE_MEMORY,
    ),
    bad(
        "fatal",
        r"\b(dhclient|curl): (?:command )?not found",
        "the initrd lacks the program {1}",
        _NETWORK_FIX,
    ),
    bad(
        "warn",
        r"\b(\w[\w.-]*): (?:command )?not found",
        "a program is missing: {1}",
        _NETWORK_FIX,
    ),
    bad(
        "fatal",
        r"cannot mount live image|Failed to mount block device of live image|"
        r"Failed to find a root filesystem in",
        "dracut got the root file system but cannot mount it",
        "rootfs.squashfs is damaged, or the initrd lacks the squashfs module",
        follows=True,
    ),
    bad(
        "fatal",
        r"OverlayFS is required but (?:is )?not available|"
        r"mount: .*overlay.*(?:unknown filesystem|wrong fs type)",
        "the initrd lacks the overlay module, so the root cannot be made writable",
        _LIVE_FIX,
    ),
    bad(
        "fatal",
        r"failed to download live image",
        "the initrd could not download the root file system",
        "look whether the initrd has curl and a driver for the network card",
        follows=True,
    ),
    bad(
        "fatal",
        r"dracut: FATAL: (.*)|dracut-\w+\[\d+\]: FATAL: (.*)",
        "dracut gave up: {1}",
        _INITRD_FIX,
    ),
    bad("fatal", r"dracut: Refusing to continue", "dracut gave up", _INITRD_FIX, follows=True),
    bad(
        "fatal",
        r"dracut-initqueue\S*:? (?:timeout|starting timeout scripts)|"
        r"dracut-initqueue(?:\[\d+\])?: Warning: dracut-initqueue:? (?:timeout|starting)",
        "dracut waited in vain for the network or for the root file system",
        _NETWORK_FIX,
        follows=True,
    ),
    bad(
        "fatal",
        r"Warning: \"?(\S*?)\"? does not exist",
        "dracut waited in vain for {1}",
        _INITRD_FIX,
        follows=True,
    ),
    bad(
        "fatal",
        r"[Ss]witch root path '?(\S+?)'? does not seem to be an OS tree",
        "the root file system is no system: /etc/os-release is missing",
        "look at what the image's scripts removed",
    ),
    bad(
        "fatal",
        r"Failed to switch root: (.*)|initrd-switch-root\.service: Failed with result|"
        r"Failed to start initrd-switch-root\.service",
        "the initrd cannot hand over to the root file system: {1}",
        "look whether the root file system has /sbin/init, systemd and their libraries",
        follows=True,
    ),
    bad(
        "fatal",
        r"(?:Entering|Starting|Started|You are in) (?:\S+ - )?[Ee]mergency (?:mode|[Ss]hell)|"
        r"Generating \"/run/initramfs/",
        "the boot ended in an emergency shell",
        EARLIER_LINES + ": what failed there had to work",
        follows=True,
    ),
    bad(
        "warn",
        r"(dhclient|dhcpcd|NetworkManager).*(?:[Nn]o DHCPOFFERS|timed out|[Nn]o working leases)",
        "the initrd's {1} got no address by DHCP",
        "look whether a DHCP server answers on the network of that card",
    ),
    bad(
        "warn",
        r"Failed to start (?:dracut-\S+ - |initrd-\S+ - )(.*?)\.?$",
        "a step of the initrd failed: {1}",
    ),
)
