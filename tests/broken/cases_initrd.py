"""What breaks in the initrd: modules, network, root file system."""

from __future__ import annotations

from workshop import ROOTFS, Case, Workshop

from imagebuilder.smoke.stages import FETCHED, KERNEL_STARTED

ROOTFS_THERE = FETCHED[ROOTFS]


def _module(name: str) -> str:
    return rf"/{name}\.ko"


def _root_url(image: Workshop) -> None:
    image.script("${base}rootfs.squashfs", "${base}gone.squashfs")


def _cut_rootfs(image: Workshop) -> None:
    image.replace(ROOTFS, image.bytes_of(ROOTFS)[:30_000_000])


def _server_dies(image: Workshop) -> None:
    """The server has the whole file, and hangs up in the middle each time."""
    image.server_ends_at[ROOTFS] = 30_000_000


def _cut_rootfs_unchecked(image: Workshop) -> None:
    _cut_rootfs(image)
    image.without_digest()


def _rotten_rootfs_unchecked(image: Workshop) -> None:
    rootfs = image.bytes_of(ROOTFS)
    # The superblock stays; the tables at the end, where the inodes are, do not.
    image.replace(ROOTFS, rootfs[:-600_000] + bytes(600_000))
    image.without_digest()


def _another_rootfs(image: Workshop) -> None:
    rootfs = image.bytes_of(ROOTFS)
    image.replace(ROOTFS, rootfs[:-1] + bytes([rootfs[-1] ^ 1]))


def _hang(image: Workshop) -> None:
    image.hook("pre-mount", "sleep 100000")


def _no_modules(image: Workshop) -> None:
    image.initrd_without(rf"lib/modules/{image.release.replace('.', '[.]')}")


INITRD_CASES = (
    Case(
        name="root-overridden",
        breaks=lambda image: image.args("root=/dev/sda1"),
        stage=KERNEL_STARTED,
        words="override its root with root=/dev/sda1",
        at="ommand line:",
        quick=True,
    ),
    Case(
        name="rdinit-missing",
        breaks=lambda image: image.args("rdinit=/nope"),
        stage=KERNEL_STARTED,
        words="rdinit=/nope; then .*no initrd that it could unpack",
        at="Kernel panic",
        quick=True,
    ),
    Case(
        name="no-live-modules",
        breaks=lambda image: image.initrd_without(r"cmdline/(29-parse-livenet|30-parse-dmsquash)"),
        stage=KERNEL_STARTED,
        words="cannot boot a live image",
        at="FATAL",
    ),
    Case(
        name="initrd-without-modules",
        breaks=_no_modules,
        stage=KERNEL_STARTED,
        words="initrd has no modules for the kernel 6.* has: none",
        at="imagebuilder: the initrd",
    ),
    Case(
        name="no-network-driver",
        breaks=lambda image: image.initrd_without(_module("virtio_net")),
        stage=KERNEL_STARTED,
        words="no driver for the machine's network card",
        at="imagebuilder: the initrd",
    ),
    Case(
        name="no-dhcp-in-initrd",
        breaks=Workshop.without_network,
        stage=KERNEL_STARTED,
        words="asked for an address by DHCP .* got no answer",
        at="Starting dracut-initqueue",
        within=45,  # four times, some seconds apart
    ),
    Case(
        name="no-dhcp-client",
        breaks=lambda image: image.initrd_without(r"bin/dhclient$"),
        stage=KERNEL_STARTED,
        words="lacks the program dhclient",
        at="dhclient",
    ),
    Case(
        name="no-curl",
        breaks=lambda image: image.initrd_without(r"bin/curl$"),
        stage=KERNEL_STARTED,
        words="lacks the program curl",
        at="curl",
    ),
    Case(
        name="wrong-root-url",
        breaks=_root_url,
        stage=KERNEL_STARTED,
        words="is not there: the server answers 404",
        at="imagebuilder: the root",
    ),
    Case(
        name="rootfs-cut-short",
        breaks=_cut_rootfs,
        stage=ROOTFS_THERE,
        words="is cut short: the server has 30000000",
        at="imagebuilder: the root",
    ),
    Case(
        name="rootfs-cut-in-flight",
        breaks=_server_dies,
        stage=KERNEL_STARTED,
        words="is cut short: its server ended each transfer after 30000000 of",
        at="is not here yet",
        within=15,  # the initrd asks again, five seconds apart, for what is missing
    ),
    Case(
        name="rootfs-cut-short-unchecked",
        breaks=_cut_rootfs_unchecked,
        stage=ROOTFS_THERE,
        words="cannot be mounted|cannot be read|cannot mount",
        at="SQUASHFS|squashfs|mount:",
    ),
    Case(
        name="rootfs-rotten-unchecked",
        breaks=_rotten_rootfs_unchecked,
        stage=ROOTFS_THERE,
        words="cannot be mounted|cannot be read|cannot mount",
        at="SQUASHFS|squashfs|mount:",
    ),
    Case(
        name="wrong-digest",
        breaks=_another_rootfs,
        stage=ROOTFS_THERE,
        words="is another one: SHA-256",
        at="imagebuilder: the root",
    ),
    Case(
        name="no-squashfs-module",
        breaks=lambda image: image.initrd_without(_module("squashfs")),
        stage=ROOTFS_THERE,
        words="squashfs",
        at="squashfs",
    ),
    Case(
        name="no-overlay-module",
        breaks=lambda image: image.initrd_without(_module("overlay")),
        stage=ROOTFS_THERE,
        words="overlay",
        at="verlay",
    ),
    Case(
        name="no-loop-module",
        breaks=lambda image: image.initrd_without(_module("loop")),
        stage=ROOTFS_THERE,
        words="the module loop is missing",
        at="mount:",
    ),
    Case(
        name="too-little-memory",
        breaks=lambda image: None,
        memory_mib=256,
        stage=KERNEL_STARTED,
        words="memory|room",
        at="curl|emory",
    ),
    Case(
        name="hang-in-initrd",
        breaks=_hang,
        boot_timeout=40,
        stage=ROOTFS_THERE,
        words="waited for dracut-pre-mount",
        within=55,  # an emulated machine has 200 s if it works, 40 s if it waits
    ),
    Case(
        name="root-without-os-release",
        breaks=lambda image: image.in_root(
            "rm -f $NEWROOT/etc/os-release $NEWROOT/usr/lib/os-release"
        ),
        stage=ROOTFS_THERE,
        words="has no os-release",
        at="imagebuilder: the root",
    ),
    Case(
        name="root-without-systemd",
        breaks=lambda image: image.in_root(
            "rm -f $NEWROOT/sbin/init $NEWROOT/usr/lib/systemd/systemd"
        ),
        stage=ROOTFS_THERE,
        words="has no /sbin/init",
        at="imagebuilder: the root",
    ),
    Case(
        name="root-without-libc",
        breaks=lambda image: image.in_root("rm -f $NEWROOT/usr/lib/x86_64-linux-gnu/libc.so.6"),
        stage=ROOTFS_THERE,
        words="first process of the root file system .systemd. ended, since a program or library",
        at="libc|panic|switch-root",
    ),
    Case(
        name="init-that-ends",
        breaks=lambda image: image.args("init=/usr/bin/false"),
        stage=ROOTFS_THERE,
        words="init=/usr/bin/false; then the first process of the root file system ended with",
        at="Kernel panic",
    ),
    Case(
        name="kernel-and-rootfs-of-different-builds",
        breaks=lambda image: image.in_root(
            f"mv $NEWROOT/usr/lib/modules/{image.release} $NEWROOT/usr/lib/modules/9.9.9-other"
        ),
        stage=ROOTFS_THERE,
        words="root file system has no modules for the kernel 6.* has: 9.9.9-other",
        at="imagebuilder: the root",
    ),
)
