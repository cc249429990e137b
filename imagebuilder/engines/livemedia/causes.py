"""The lines of logs that show why a run of livemedia-creator failed.

The texts are those of lorax 28 to 46 (pylorax/creator.py, installer.py, monitor.py), of Anaconda,
and of the programs that they run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """What a line of a log says.

    Attributes:
        pattern: what the line has.
        what: the cause, in our words; ``{name}`` is the first group, ``{room}`` the room on disk.
        fix: what to do.
        is_host: whether the host is to blame.
        is_vague: whether ending the run may bring the line about as well.
    """

    pattern: re.Pattern[str]
    what: str
    fix: str
    is_host: bool = False
    is_vague: bool = False


def _cause(
    pattern: str, what: str, fix: str, *, is_host: bool = False, is_vague: bool = False
) -> Cause:
    return Cause(re.compile(pattern), what, fix, is_host, is_vague)


# The first that is found in any log holds: the more telling come first.
CAUSES = (
    _cause(
        r"No space left on device|Errno 28",
        "the disk is full: {room}",
        "make room there, or name other folders in [livemedia] tmp_dir and result_dir; if it is "
        "the image's own root, say a larger part / --size=MIB, or root_size_mib",
    ),
    _cause(
        r"Command '\['cp', .*(?P<name>)",
        "the results could not be copied: {room}",
        "make room there, or name another folder in [livemedia] result_dir",
        is_vague=True,
    ),
    _cause(
        r"NoSuchPackage:? ?(?P<name>\S*)|No match for argument: (?P<other>\S+)",
        "a package is not to be had: {name}",
        "see how it is called, and that url and repo name a repository that has it",
    ),
    _cause(
        r"insufficient disk space:|Not enough disk space to download|needs \d+\S* more space",
        "the root file system is too small for what is installed",
        "say a larger part / --size=MIB, or [livemedia] root_size_mib",
    ),
    _cause(
        r"base repo (?!\(CDROM/file).* not valid|Failed to download metadata|"
        r"Cannot prepare internal mirrorlist|Error setting up base repository|"
        r"Failed to set up installation source",
        "a repository cannot be used",
        "see that the URLs of url and repo can be reached from here, and [livemedia] proxy",
    ),
    _cause(
        r"packaging: .* requires .*|nothing provides \S+",
        "packages cannot be installed together",
        "see which repository lacks what is named",
    ),
    _cause(
        r"Error in POSTIN scriptlet in rpm package(?P<name>.*)",
        "a script of a package failed:{name}",
        "see Anaconda's packaging.log",
    ),
    _cause(
        r"error populating transaction after|packaging: Installation failed",
        "the packages could not be installed",
        "see Anaconda's packaging.log: as a rule a mirror does not answer",
    ),
    _cause(
        r"Error code (?P<code>\d+) running the kickstart script at line (?P<line>\d+)|"
        r"kickstart script at line (?P<line2>\d+)",
        "a script of the kickstart failed",
        "see the script's output in Anaconda's logs",
    ),
    _cause(
        r"Out of memory:|oom-kill|Cannot allocate memory",
        "the memory was not enough",
        "give the host, or with virt [livemedia] memory_mib, more",
        is_host=True,
    ),
    _cause(r"Call Trace:", "the kernel had a fault", "see dmesg", is_host=True),
    _cause(
        r"dumped core|crashed on signal|traceback script\(s\) have been run",
        "Anaconda crashed",
        "see anaconda-tb-* among its logs; its version may not fit the kickstart",
    ),
    _cause(
        r"The following error occurred while installing\.  This is a fatal error",
        "Anaconda ended with an error",
        "see the lines after it in Anaconda's logs",
    ),
    _cause(
        r"could not find any free loop device|failed to setup loop device|"
        r"losetup: .*(failed|cannot)",
        "this host has no loop device left",
        "run: losetup -a; on a host with many, modprobe loop max_loop=64",
        is_host=True,
    ),
    _cause(
        r"no-virt requires anaconda to be installed",
        "Anaconda is not installed",
        'run: dnf install lorax-lmc-novirt; or use mode = "virt"',
        is_host=True,
    ),
    _cause(
        r"qemu(-kvm)? needs to be installed|does not exist, cannot run qemu|"
        r"firmware (directory )?is missing|firmware file .* is missing",
        "QEMU or its firmware is not installed where livemedia-creator wants it",
        "run: dnf install lorax-lmc-virt edk2-ovmf",
        is_host=True,
    ),
    _cause(
        r"You need to run this as root",
        "livemedia-creator needs root",
        "run it as root",
        is_host=True,
    ),
    _cause(
        r"Only url, nfs and ostreesetup install methods|repo can only be used with the url|"
        r"must activate networking|must not set a display mode|must use a single / part|"
        r"must include shutdown|No partitions in the kickstart",
        "livemedia-creator refuses the kickstart",
        "mend what it names",
    ),
    _cause(
        r"virt_install failed on line: (?P<name>.+)",
        "the installation in the virtual machine failed: {name}",
        "see virt-install.log",
    ),
    _cause(
        r"No initrds found",
        "there is no kernel whose name livemedia-creator knows in /boot",
        "see that %packages brings kernel, and that nothing removes /boot",
    ),
    _cause(
        r"dracut.*[mM]odule '(?P<name>[^']+)' cannot be (found|installed)",
        "dracut lacks its module {name}",
        "add the package that has it: dracut-live, dracut-network",
    ),
    # What the programs themselves say stands in program.log, beside that they failed elsewhere.
    *(
        _cause(pattern, "dracut failed", "see program.log", is_vague=True)
        for pattern in (
            r"dracut(\[\d+\])?: (FAILED|Cannot|E:)",
            r"Running dracut failed|Command '\['dracut'",
        )
    ),
    *(
        _cause(
            pattern,
            "mksquashfs failed",
            "see program.log: as a rule the disk is full, or it lacks the compressor",
        )
        for pattern in ("FATAL ERROR", "mksquashfs failed to create")
    ),
    _cause(
        r"Problem zeroing free blocks of|make_.*fsck",
        "the installed file system is damaged, or nothing was installed",
        "see Anaconda's logs",
        is_vague=True,
    ),
    _cause(
        r"failed to unmount|Cleanup of .* failed|cleanup of anaconda mounts failed|umount: .*",
        "something that Anaconda mounted could not be unmounted, or nothing was installed",
        "see Anaconda's logs: often dracut-live is missing, or Anaconda installed nothing",
        is_vague=True,
    ),
    _cause(
        r"Canceling installation due to timeout|failed due to timeout",
        "Anaconda was not done in its time",
        "see what it waited for in its logs; [livemedia] timeout is in minutes",
        is_vague=True,
    ),
    _cause(
        r"in create_pxe_config|pxe-config\.tmpl",
        "lorax' templates are not where it looks for them",
        "name their folder in [livemedia] lorax_templates: share/ of a checkout of lorax",
    ),
    _cause(
        r"Traceback \(",
        "a Python program failed with a traceback",
        "see the lines after it",
        is_vague=True,
    ),
    _cause(
        r"unrecognized arguments: (?P<name>.*)|error: argument (?P<other>.*)",
        "livemedia-creator does not know an option: {name}",
        "take it out of [livemedia] extra_args",
    ),
    _cause(
        r"Running anaconda failed: .* exited with status (?P<name>-?\d+)|Running anaconda failed",
        "Anaconda ended with exit status {name}",
        "see Anaconda's logs",
        is_vague=True,
    ),
)
