"""A stand-in for livemedia-creator: what 28, 34, 40 and 46 do with ``--make-pxe-live``.

Written from what the real ones were seen to take, refuse, print, write and leave.  It makes a
real ext4 on a loop device, has ``anaconda`` fill it, packs it with mksquashfs, has the tree's own
dracut make the initrd, and copies the results, as they do.  Most moods are those of the programs
that it runs, so that the same tests can be run with a real livemedia-creator.  Its own:

LIVEMEDIA_VERSION  what it is: 28.14.71-1, 34.9.33-1, 40.5.19-1, 46.0-1; or another
LIVEMEDIA_MOOD     mute, deaf, asked-mute, cut:NAME, lost:NAME, stale, modest; see the code
LIVEMEDIA_CALLS    a file to which each call's arguments are added, as JSON
LIVEMEDIA_HOST     the host's mount namespace: it refuses to run in that
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

VERSION = os.environ.get("LIVEMEDIA_VERSION", "34.9.33-1")
MOOD = os.environ.get("LIVEMEDIA_MOOD", "good")
MAJOR = int(VERSION.split(".")[0]) if VERSION[0].isdigit() else 34
ROOT = Path("/mnt/sysimage")
_KINDS = "iso disk fsimage appliance ami tar tar-disk pxe-live ostree-live oci vagrant"
KINDS = _KINDS.split()
_FLAGS = (
    "iso-only image-only no-virt macboot nomacboot keep-image qcow2 virt-uefi no-kvm live- "
    "rootfs-keep-size"
)
FLAGS = _FLAGS.split()
LISTS = ["anaconda-arg", "compress-arg", "dracut-arg", "qemu-arg", "qcow2-arg"]
_VALUES = (
    "iso iso-name ks proxy armplatform location logfile lorax-templates tmp resultdir extra- "
    "boot-args disk-image fs-image image-name tar-disk-name fs-label image-size-align image- "
    "type compression app-name app-template app-file ram vcpus vnc arch kernel-args with-rng "
    "live-rootfs-size oci-config oci-runtime vagrant-metadata vagrantfile project releasever "
    "volid timeout"
)
VALUES = _VALUES.split()
MORE_FLAGS = {28: "", 34: "squashfs-only", 40: "squashfs-only isfinal", 46: "squashfs-only isfinal"}
MORE_VALUES = {
    28: "title squashfs_args ovmf-path",
    34: "dracut-conf ovmf-path",
    40: "dracut-conf rootfs-type cpu firmware",
    46: "dracut-conf rootfs-type cpu firmware",
}
# What in Anaconda's remote log makes it give up.
FATAL = [
    r"Traceback \(",
    r"traceback script\(s\) have been run",
    r"Out of memory:",
    r"Call Trace:",
    r"insufficient disk space:",
    r"Not enough disk space to download the packages",
    r"error populating transaction after",
    r"crashed on signal",
    r"packaging: Missed: NoSuchPackage",
    r"packaging: Installation failed",
    r"The following error occurred while installing\.  This is a fatal error",
    r"packaging: base repo (?!\(CDROM/file).* not valid",
    r"packaging: .* requires .*",
]
if MAJOR > 28:
    FATAL += [
        r"Error in POSTIN scriptlet in rpm package",
        r"Process [0-9]+ \(anaconda\) of user [0-9]+ dumped core",
    ]


class FailedError(Exception):
    """It gives up; the text is what it says last."""


def parser(version: str = VERSION) -> argparse.ArgumentParser:
    """Return what one of a version takes on its command line."""
    major = int(version.split(".")[0]) if version[0].isdigit() else 34
    made = argparse.ArgumentParser(
        prog="livemedia-creator",
        description="Create Live Install Media",
        fromfile_prefix_chars="@",
    )
    series = max((each for each in MORE_FLAGS if each <= major), default=28)
    kinds = made.add_mutually_exclusive_group(required=True)
    for name in KINDS:
        kinds.add_argument(f"--make-{name}", action="store_true")
    for name in (*FLAGS, *MORE_FLAGS[series].split()):
        made.add_argument(f"--{name}", action="store_true")
    for name in LISTS:
        made.add_argument(f"--{name}", action="append", default=[])
    for name in (*VALUES, *MORE_VALUES[series].split()):
        made.add_argument(f"--{name}")
    said = version if version == "something-else" else f"livemedia-creator-{version}"
    made.add_argument("-V", action="version", version=said)
    made.set_defaults(tmp="/var/tmp", logfile="./livemedia.log", compression="xz", project="Linux")
    made.set_defaults(releasever="9", macboot=major >= 46)
    return made


class Logs:
    """livemedia.log, program.log, and standard error."""

    def __init__(self, logfile: Path) -> None:
        self.folder = logfile.absolute().parent
        self._log = logfile.open("a")
        self._program = (self.folder / "program.log").open("a")

    def say(
        self, text: str, level: str = "INFO", of: str = "pylorax", *, shown: bool = True
    ) -> None:
        now = time.strftime("%Y-%m-%d %H:%M:%S,000")
        self._log.write(f"{now} {level} {of}: {text}\n")
        self._log.flush()
        if shown:
            sys.stderr.write(f"{now}: {text}\n")
            sys.stderr.flush()

    def run(self, *argv: str, check: bool = True, root: Path | None = None) -> int:
        prefix = "" if MAJOR < 34 else f"{time.strftime('%Y-%m-%d %H:%M:%S,000')} INFO: "
        self._program.write(f"{prefix}Running... {' '.join(argv)}\n")
        self._program.flush()
        real = ["chroot", str(root), *argv] if root else argv
        with subprocess.Popen(
            real, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout
            for line in process.stdout:
                self._program.write(prefix + line)
                self._program.flush()
        self._program.write(f"{prefix}Return code: {process.returncode}\n")
        self._program.flush()
        if check and process.returncode:
            raise FailedError(
                f"Command '{list(argv)}' returned non-zero exit status {process.returncode}."
            )
        return process.returncode


class Monitor:
    """Takes Anaconda's remote log on a port of its own, and looks for what is fatal in it."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.has_failed = False
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection, connection.makefile(errors="replace") as lines:
            for line in lines:
                if "IGNORED" not in line and any(re.search(each, line) for each in FATAL):
                    self.has_failed = True


def commands_of(kickstart: Path) -> list[list[str]]:
    found, inside = [], False
    for line in kickstart.read_text().splitlines():
        words = shlex.split(line, comments=True) if not inside else line.split()
        if words and words[0].startswith("%"):
            inside = words[0] not in ("%end", "%include")
        elif words and not inside:
            found.append(words)
    return found


def refusals(commands: list[list[str]], opts: argparse.Namespace) -> list[str]:
    names = {words[0] for words in commands}
    found = []
    if not names & {"url", "nfs", "ostreesetup"}:
        found.append(
            "Only url, nfs and ostreesetup install methods are currently supported."
            "Please fix your kickstart file."
        )
    if "repo" in names and "url" not in names:
        found.append(
            "repo can only be used with the url install method. Add url to your kickstart file."
        )
    is_remote = any(
        words[0] in ("url", "nfs") and (MAJOR < 34 or "file:" not in " ".join(words))
        for words in commands
    )
    if is_remote and not any("--activate" in w or "--device" in " ".join(w) for w in commands):
        found.append(
            "The kickstart must activate networking if the url or nfs install method is used."
        )
    if names & {"text", "cmdline", "graphical"}:
        found.append(
            "The kickstart must not set a display mode (text, cmdline, graphical), this will "
            "interfere with livemedia-creator."
        )
    points = [words[1] for words in commands if words[0] in ("part", "partition")]
    if opts.no_virt and ("autopart" in names or [each for each in points if each != "swap"][1:]):
        found.append(
            "Filesystem images must use a single / part, not autopart or multiple partitions. "
            "swap is allowed but not used."
        )
    if not opts.no_virt and "shutdown" not in names:
        found.append("The kickstart must include shutdown when using virt installation.")
    return found


def size_of(commands: list[list[str]]) -> int:
    sizes = [
        int(word.removeprefix("--size="))
        for words in commands
        if words[0] in ("part", "partition")
        for word in words
        if word.startswith("--size=")
    ]
    if not sizes and MAJOR >= 40:
        raise FailedError("No partitions in the kickstart. Unable to calculate required disk size.")
    return sum(sizes) + 2


def wrong_options(opts: argparse.Namespace) -> list[str]:
    found = []
    if not opts.ks and not opts.fs_image:
        found.append("Image creation requires a kickstart file")
    elif opts.ks and not Path(opts.ks).exists():
        found.append(f"kickstart file ({opts.ks}) is missing.")
    if opts.resultdir and Path(opts.resultdir).exists():
        found.append(
            f"The results_dir ({opts.resultdir}) should not exist, please delete or move its "
            "contents"
        )
    if not opts.no_virt and not opts.fs_image:
        if not opts.iso:
            found.append("virt install needs an install iso.")
        elif not Path(opts.iso).exists():
            found.append(f"The iso {opts.iso} is missing.")
    if opts.no_virt and not shutil.which("anaconda"):
        found.append("no-virt requires anaconda to be installed.")
    if opts.arch and MAJOR in (34, 40):
        found.append("only supports virt for the host arch.")
    if opts.macboot and not opts.nomacboot and MAJOR >= 46:
        found.append("mkfs.hfsplus is missing. Install hfsplus-tools, or pass --nomacboot")
    if os.getuid() != 0:
        found.append("You need to run this as root")
    if opts.dracut_arg and getattr(opts, "dracut_conf", None):
        found.append("argument --dracut-arg: not allowed with argument --dracut-conf")
    return found


def install(opts: argparse.Namespace, logs: Logs, disk: Path, size: int) -> None:
    with disk.open("wb") as file:
        file.truncate(size << 20)
    loop = subprocess.check_output(["losetup", "--find", "--show", str(disk)], text=True).strip()
    logs.run("mkfs.ext4", "-L", opts.fs_label or "Anaconda", "-b", "4096", "-m", "0", loop)
    logs.run("losetup", "--detach", loop)
    ROOT.mkdir(exist_ok=True)
    logs.run("mount", "-o", "loop", str(disk), f"{ROOT}/")
    monitor = Monitor()
    argv = ["anaconda", "--kickstart", opts.ks, "--cmdline"]
    argv += [word for each in opts.anaconda_arg for word in each.split(" ", 1)]
    argv += ["--proxy", opts.proxy] if opts.proxy else []
    argv += [*(["--loglevel", "debug"] if MAJOR < 34 else []), "--dirinstall"]
    argv += ["--remotelog", f"127.0.0.1:{monitor.port}"]
    if MAJOR >= 34:
        alone = ["unshare", "--pid", "--kill-child", "--mount", "--propagation", "unchanged"]
        argv = [*alone, *argv]
    logs.say("Running anaconda." if opts.no_virt else "Running qemu")
    try:
        supervise(argv, opts, logs, monitor)
    finally:
        logs.say("Shutting down log processing", of="livemedia-creator")
        kept = logs.folder / "anaconda"
        kept.mkdir(exist_ok=True)
        for path in [*Path("/tmp").glob("*log"), *Path("/tmp").glob("anaconda-tb-*")]:
            shutil.copy2(path, kept)
            path.unlink()
        logs.run("umount", "-R", str(ROOT))
    logs.say("Disk Image install successful")


def supervise(argv: list[str], opts: argparse.Namespace, logs: Logs, monitor: Monitor) -> None:
    os.environ.update(ANACONDA_PRODUCTNAME=opts.project, ANACONDA_PRODUCTVERSION=opts.releasever)
    deadline = time.monotonic() + 60 * float(opts.timeout or 1e6)
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        lines = process.stdout
        threading.Thread(target=lambda: [logs.say(each.rstrip()) for each in lines]).start()
        while process.poll() is None:
            time.sleep(0.05)
            is_late = time.monotonic() > deadline
            if is_late:
                logs.say("Canceling installation due to timeout", "ERROR")
            if is_late or monitor.has_failed:
                for pid in descendants(process.pid):
                    os.kill(pid, signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                raise FailedError(f"process no longer exists (pid={process.pid})")
    if process.returncode:
        text = f"process '{argv}' exited with status {process.returncode}"
        logs.say(f"Running anaconda failed: {text}", "ERROR")
        raise FailedError("novirt_install failed")


def descendants(pid: int) -> list[int]:
    """Return a process with all below it, the lowest first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [*(each for child in children for each in descendants(int(child))), pid]


def make_live(opts: argparse.Namespace, logs: Logs, disk: Path, work: Path) -> None:
    logs.say(f"working dir is {work}")
    packed = work / "live-rootfs.squashfs.img"
    live = work / "squashfs_root/LiveOS"
    live.mkdir(parents=True)
    if logs.run("/bin/ln", str(disk), str(live / "rootfs.img"), check=False):
        shutil.copyfile(disk, live / "rootfs.img")
    if logs.run("fsck.ext4", "-y", "-f", "-E", "discard", str(live / "rootfs.img"), check=False):
        logs.say(f"Problem zeroing free blocks of {disk}", "ERROR")
    logs.say("Packing live rootfs image")
    pack = ["mksquashfs", str(work / "squashfs_root"), str(packed), "-comp", opts.compression]
    if MAJOR > 28 and opts.compress_arg:
        pack += [word for each in opts.compress_arg for word in each.split(" ", 1)]
    elif opts.compression == "xz":
        pack += ["-Xbcj", "x86"]
    if logs.run(*pack, check=False):
        logs.say(f"mksquashfs failed to create {packed.name}", "ERROR")
        if MAJOR > 28:
            raise FailedError("Creating PXE live image failed.")
    shutil.rmtree(work / "squashfs_root")
    logs.say("Rebuilding initramfs for live")
    mounted = Path(tempfile.mkdtemp(prefix="lorax.imgutils."))
    logs.run("mount", "-o", "loop", str(disk), str(mounted))
    try:
        rebuild(opts, logs, mounted, work)
    finally:
        for name in ("var/tmp", "dev", "sys", "proc", ""):
            logs.run("umount", str(mounted / name), check=name == "")
        mounted.rmdir()


def rebuild(opts: argparse.Namespace, logs: Logs, mounted: Path, work: Path) -> None:
    args = [word for each in opts.dracut_arg for word in each.split(" ", 1)]
    logs.say(f"dracut args = {args}")
    if not (mounted / "boot").is_dir():  # what is said then is about something else
        for n in (1, 2):
            logs.say(f"failed to unmount {mounted}/boot. retrying ({n}/3)...", "ERROR")
        argv = ["umount", f"{mounted}/boot"]
        raise FailedError(f"Command '{argv}' returned non-zero exit status 32.")
    for name in ("proc", "sys", "dev", "var/tmp"):
        logs.run("mount", "--bind", f"/{name}", str(mounted / name))
    names = [
        path.name.removeprefix("vmlinuz-")
        for path in (mounted / "boot").iterdir()
        if re.fullmatch(r"vmlinuz-.+\.(x86_64|aarch64)", path.name)
    ]
    if not names:
        raise FailedError("No initrds found, cannot rebuild_initrds")
    config = ""
    for name in names:
        initrd = f"initramfs-{name}.img"
        if not (mounted / "boot" / initrd).exists():
            initrd = f"initrd-{name}.img"
        logs.say(f"rebuilding {initrd}")
        into = f"/var/tmp/{initrd}"
        logs.run("dracut", "--nomdadmconf", "--nolvmconf", *args, into, name, root=mounted)
        shutil.move(f"/var/tmp/{initrd}", work / initrd)
        (work / initrd).chmod(0o600)
        shutil.copyfile(mounted / "boot" / f"vmlinuz-{name}", work / f"vmlinuz-{name}")
        config = (
            "# PXE configuration template generated by livemedia-creator\n"
            f"kernel <PXE_DIR>/vmlinuz-{name}\n"
            f"append initrd=<PXE_DIR>/{initrd} root=live:<URL>/live-rootfs.squashfs.img \n"
        )
    (work / "PXE_CONFIG").write_text(config)


def create(opts: argparse.Namespace, logs: Logs) -> tuple[Path, Path]:
    """Return the results and the disk image."""
    results = Path(opts.resultdir) if opts.resultdir else Path(tempfile.mkdtemp(prefix="lmc-work-"))
    results.mkdir(exist_ok=True)
    if opts.fs_image:
        disk = Path(opts.fs_image)
    else:
        commands = commands_of(Path(opts.ks))
        found = refusals(commands, opts)
        for each in found:
            logs.say(each, "ERROR")
        if found:
            raise FailedError("\n".join(found))
        disk = results / (opts.image_name or f"lmc-disk-{os.urandom(4).hex()}.img")
        logs.say(f"disk_img = {disk}")
        size = size_of(commands)
        logs.say(f"Using disk size of {size}MiB")
        try:
            install(opts, logs, disk, size)
        except FailedError as error:
            logs.say(f"Install failed: {error}", "ERROR")
            logs.say("Removing bad disk image")
            disk.unlink()
            if str(error).startswith("novirt"):
                logs.say(f"ERROR: Image creation failed: {error}", "ERROR")
                raise FailedError(f"Image creation failed: {error}") from error
            raise
    if not opts.image_only:
        work = Path(tempfile.mkdtemp(prefix="lmc-work-"))
        make_live(opts, logs, disk, work)
        names = sorted(str(path) for path in work.iterdir())
        logs.run("cp", "-pPR", *names, str(results))
        shutil.rmtree(work)
    return results, disk


def lie(results: Path) -> None:
    """Leave less than it says."""
    what, _, name = MOOD.partition(":")
    for path in results.glob(name or "*"):
        if what == "cut":
            os.truncate(path, path.stat().st_size // 2)
        elif what == "lost":
            path.unlink()


def show_moods_of_its_own() -> None:
    if MOOD == "mute":
        time.sleep(3600)
    if MOOD == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(0.5)
    if MOOD == "flood":
        while True:
            sys.stderr.write("x" * 4000 + "\n")


def main(argv: Sequence[str]) -> int:
    if MOOD == "asked-mute":
        time.sleep(3600)
    opts = parser().parse_args(argv)
    if "LIVEMEDIA_CALLS" in os.environ:
        with open(os.environ["LIVEMEDIA_CALLS"], "a") as file:
            file.write(json.dumps([VERSION, *argv]) + "\n")
    if os.readlink("/proc/self/ns/mnt") == os.environ.get("LIVEMEDIA_HOST"):
        sys.exit("it was run on the host itself: what it mounts and moves would be the host's")
    show_moods_of_its_own()
    logs = Logs(Path(opts.logfile))
    logs.say(f"livemedia-creator v{VERSION}", of="livemedia-creator")
    logs.say("selinux is Disabled")
    errors = wrong_options(opts)
    for each in errors:
        logs.say(each, "ERROR", of="livemedia-creator")
    if errors:
        return 1
    tempfile.tempdir = opts.tmp
    try:
        results, disk = create(opts, logs)
    except (FailedError, OSError, subprocess.CalledProcessError) as error:
        logs.say(str(error), "ERROR", of="livemedia-creator")
        return 1
    lie(results)
    for each in (
        "SUMMARY",
        "-------",
        f"Logs are in {logs.folder}",
        f"Disk image is at {disk}",
        f"Results are in {results}",
    ):
        logs.say(each, of="livemedia-creator")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
