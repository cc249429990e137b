"""Builds with the livemedia engine that fail, each with how it must be told."""

from __future__ import annotations

from dataclasses import dataclass, field

WHOLE = "image_only = false"  # livemedia-creator makes squashfs and initrd, too
QUIET = "silence = 0.1"  # minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A build, and how it must end.

    Attributes:
        name: its folder.
        said: a pattern of what must be said.
        status: the exit status.
        options: lines of ``[livemedia]``.
        series: which livemedia-creator.
        moods: of the programs.
        is_ours: whether only the stand-in can do so.
        tmpfs: a file system of its own of so many MiB, below the folder.
        image: lines of ``[image]``.
    """

    name: str
    said: str = ""
    status: int = 1
    options: tuple[str, ...] = ()
    series: str = "34.9.33-1"
    moods: dict[str, str] = field(default_factory=dict)
    is_ours: bool = False
    tmpfs: str = ""
    image: str = ""


def line(text: str) -> dict[str, str]:
    return {"anaconda": f"line:{text}"}


ENDINGS = (
    # Anaconda
    Case(name="exit-1", moods={"anaconda": "exit:1"}, said="Anaconda ended with exit status 1"),
    Case(
        name="package",
        series="46.0-1",
        moods=line("ERR packaging: Missed: NoSuchPackage: bash"),
        said=r"kickstarts/a\.ks:9: .*a package is not to be had: bash",
    ),
    Case(
        name="repository",
        series="40.5.19-1",
        moods=line("ERR packaging: base repo http://x not valid"),
        said="a repository cannot be used",
    ),
    Case(
        name="scriptlet",
        moods=line("ERR packaging: Error in POSTIN scriptlet in rpm package glibc"),
        said="a script of a package failed: ?glibc",
    ),
    # 28 does not heed this line, and waits.
    Case(
        name="scriptlet-of-28",
        series="28.14.71-1",
        options=(QUIET,),
        moods=line("ERR packaging: Error in POSTIN scriptlet in rpm package glibc"),
        said="no sign of life(.|\n)*Error in POSTIN scriptlet",
    ),
    Case(
        name="requires",
        series="28.14.71-1",
        moods=line("ERR packaging: a-1 requires b"),
        said="packages cannot be installed together",
    ),
    Case(name="post", moods={"anaconda": "script:9"}, said=r"kickstarts/a\.ks:9.*a script of"),
    Case(name="full-root", moods={"anaconda": "fill"}, said="the disk is full"),
    Case(
        name="nothing",
        series="40.5.19-1",
        moods={"anaconda": "nothing"},
        said="nothing was installed|no root file system",
    ),
    Case(
        name="nothing-to-its-end",
        options=(WHOLE,),
        moods={"anaconda": "nothing"},
        said="nothing was installed|no root file system",
    ),
    Case(name="no-kernel", moods={"anaconda": "no-kernel"}, said="no kernel"),
    Case(
        name="no-kernel-to-its-end",
        options=(WHOLE,),
        moods={"anaconda": "no-kernel"},
        said="no kernel",
    ),
    Case(
        name="no-database", moods={"anaconda": "no-packages"}, said="which packages are installed"
    ),
    # time
    Case(
        name="hang",
        options=(QUIET,),
        moods={"anaconda": "hang"},
        said="no sign of life",
    ),
    Case(
        name="deaf",
        series="46.0-1",
        options=(QUIET,),
        moods={"anaconda": "deaf"},
        said="no sign of life",
    ),
    Case(
        name="flood",
        options=("phase_timeouts = {install = 0.1}",),
        moods={"anaconda": "flood"},
        # Whichever comes first: it depends on how quickly this host writes.
        said="the phase took longer than it may|its logs grew without end",
    ),
    Case(
        name="late",
        options=("timeout = 0.1",),
        moods={"anaconda": "hang"},
        said="in the time for the whole run",
    ),
    Case(
        name="mute",
        options=(QUIET,),
        moods={"livemedia": "mute"},
        is_ours=True,
        said="no sign of life",
    ),
    Case(
        name="deaf-itself",
        options=(QUIET,),
        moods={"livemedia": "deaf"},
        is_ours=True,
        said="no sign of life",
    ),
    Case(
        name="floods-itself",
        options=("timeout = 0.1",),
        moods={"livemedia": "flood"},
        is_ours=True,
        said="in the time for the whole run|its logs grew without end",
    ),
    # mksquashfs and dracut
    Case(
        name="squashfs",
        series="46.0-1",
        options=(WHOLE,),
        moods={"mksquashfs": "fail"},
        said="mksquashfs failed(.|\n)*FATAL ERROR: zlib",
    ),
    Case(
        name="squashfs-of-28",
        series="28.14.71-1",
        options=(WHOLE,),
        moods={"mksquashfs": "fail"},
        is_ours=True,
        said="left no live-rootfs.squashfs.img",
    ),
    Case(
        name="dracut",
        options=(WHOLE,),
        moods={"anaconda": "dracut:fail"},
        said="dracut(.|\n)*FAILED",
    ),
    Case(name="dracut-ours", moods={"anaconda": "dracut:fail"}, said="dracut(.|\n)*FAILED"),
    Case(
        name="dracut-live",
        options=(WHOLE,),
        moods={"anaconda": "dracut:lacks"},
        said="dracut lacks its module livenet",
    ),
    Case(
        name="dracut-live-ours",
        moods={"anaconda": "dracut:lacks"},
        said="dracut lacks its module livenet",
    ),
    # lies
    Case(
        name="cut-squashfs",
        options=(WHOLE,),
        moods={"livemedia": "cut:live-rootfs*"},
        is_ours=True,
        said="is cut off",
    ),
    Case(
        name="cut-disk", moods={"livemedia": "cut:rootfs.img"}, is_ours=True, said="damaged|cut off"
    ),
    Case(
        name="no-disk",
        moods={"livemedia": "lost:rootfs.img"},
        is_ours=True,
        said="left no disk image",
    ),
    Case(
        name="no-PXE_CONFIG",
        options=(WHOLE,),
        moods={"livemedia": "lost:PXE_CONFIG"},
        is_ours=True,
        said="left no PXE_CONFIG",
    ),
    # programs that are none
    Case(
        name="old", series="27.9-1", is_ours=True, status=5, said="version 27.9-1, which is too old"
    ),
    Case(
        name="absent",
        options=('program = "none-such"',),
        status=5,
        said="none-such is not installed",
    ),
    Case(name="not-there", options=('program = "./none"',), status=5, said="there is no program"),
    Case(name="another", options=('program = "true"',), status=5, said="cannot be driven"),
    # disks
    Case(
        name="full-tmp",
        options=(WHOLE, 'tmp_dir = "full"'),
        tmpfs="560m",
        moods={"anaconda": "occupy:{folder}/full"},
        said="full has 0 MiB left|the disk is full",
    ),
    Case(
        name="full-results",
        options=(WHOLE, 'result_dir = "full"'),
        tmpfs="560m",
        moods={"anaconda": "occupy:{folder}/full"},
        is_ours=True,  # a real one digs holes into its disk image, and so makes room again
        said="full has 0 MiB left|the disk is full|could not be copied",
    ),
)
