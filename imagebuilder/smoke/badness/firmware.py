"""Lines of firmware and boot loaders: SeaBIOS, OVMF, iPXE, GRUB."""

from __future__ import annotations

from imagebuilder.smoke.badness.kinds import MORE_MEMORY, Badness, bad

_DAMAGED_KERNEL = "vmlinuz is damaged or cut short: build again"
_SERVER = "look whether the server has all files that the boot script names"

# iPXE ends its messages with a link whose eight digits are an error's number; the words before
# it are those of its class (iPXE, src/core/errno.c).
_IPXE_LINK = r" \(https?://ipxe\.org/[0-9a-f]{8}\)"

# A boot script may try a file that need not be there, so iPXE's errors end nothing by themselves:
# what iPXE does then does.
FIRMWARE: tuple[Badness, ...] = (
    bad(
        "warn",
        rf"((?:https?|tftp)://\S+?)\.* No such file or directory{_IPXE_LINK}",
        "iPXE: the server has no {1}",
        _SERVER,
    ),
    bad(
        "warn",
        rf"(?:Could not boot|(?:https?|tftp)://\S+).*: Exec format error{_IPXE_LINK}|"
        rf"\bExec format error{_IPXE_LINK}",
        "iPXE cannot run what it fetched: it is no script that it understands, or no kernel for "
        "this machine",
        "look whether boot.ipxe is whole and begins with #!ipxe, and whether vmlinuz is a kernel "
        "for x86-64",
    ),
    bad(
        "warn",
        rf"(?:Not enough space|No space left on device|Out of memory|Cannot allocate memory)\W*"
        rf"{_IPXE_LINK}",
        "iPXE has too little memory for kernel and initrd",
        MORE_MEMORY,
    ),
    # What a script ends with (``exit 1``), iPXE takes for an error's number.
    bad(
        "warn",
        rf"\bError 0x000000([0-9a-f]{{2}}){_IPXE_LINK}",
        "iPXE: the boot script ended with status 0x{1} before it booted anything",
        "look at what boot.ipxe does before its line boot: an exit, or a command that failed",
    ),
    bad(
        "warn",
        rf"No configuration methods ?succeeded{_IPXE_LINK}",
        "iPXE got no address by DHCP",
        "look whether a DHCP server answers on the network of the first card",
    ),
    bad(
        "warn",
        rf"Configuring \(net\d+ \S+\)\.+ *(.*?){_IPXE_LINK}",
        "iPXE got no address by DHCP: {1}",
        "look whether a DHCP server answers on the network of the first card",
    ),
    bad(
        "warn",
        rf"\b(Connection (?:timed out|reset|refused)|Input/output error|Error \S+ on){_IPXE_LINK}",
        "iPXE lost its connection to the server: {1}",
        "look whether the server is there and sends all of the file",
    ),
    bad("warn", rf"^(?!.*Link status).*?\b([A-Z][\w ,/']+?){_IPXE_LINK}", "iPXE: {1}", _SERVER),
    bad("fatal", r"Nothing to boot: (.*)", "iPXE was told of nothing to boot: {1}", _SERVER),
    bad(
        "fatal",
        r": could not be loaded from (\S+)",
        "the image's boot script could not load it from {1}",
        _SERVER,
        follows=True,
    ),
    bad(
        "fatal",
        r"No bootable device|No more network devices|Boot Failed\. EFI|BdsDxe: (?:No bootable "
        r"option|failed to load Boot\d+ .*(?:PXE|HTTP))|Shell> $|UEFI Interactive Shell",
        "the firmware found nothing to boot from",
        "look whether its first network card has a boot ROM and a DHCP server answers it",
        follows=True,
    ),
    bad(
        "fatal",
        r"^error: (.*)|grub rescue>",
        "GRUB: {1}",
        "look at GRUB's configuration and the files that it names",
    ),
    bad(
        "fatal",
        r"(?:Access Denied|Security Violation|bad shim signature|Verification failed)",
        "Secure Boot refused what was to be booted",
        "sign it with a key that the firmware knows, or switch Secure Boot off",
    ),
    # The kernel's own decompressor; on the screen, and on the serial port with earlyprintk.  It
    # says of an initrd what it says of itself.
    bad(
        "fatal",
        r"^(?!.*Initramfs unpacking).*?("
        r"(?:XZ|ZSTD|LZMA|LZ4|LZO|bzip2|gzip)\S*[- ]compressed data is (?:corrupt|truncated)|"
        r"uncompression error|Destination address too large|invalid magic at start of compressed|"
        r"(?<!.)(?:crc|length) error|Out of memory while allocating|invalid compressed format)",
        "the kernel could not unpack itself: {1}",
        _DAMAGED_KERNEL,
    ),
    bad(
        "fatal",
        r"^ ?-- System halted",
        "the kernel could not unpack itself",
        _DAMAGED_KERNEL,
        follows=True,
    ),
)
