"""Flattened here or by ksflatten, a kickstart without templates means the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from imagebuilder.errors import Location
from imagebuilder.kickstart.flatten import flatten
from imagebuilder.kickstart.lines import Lines
from imagebuilder.kickstart.parse import parse

# What pykickstart says of a user or repository that is named twice.
pytestmark = pytest.mark.filterwarnings("ignore::pykickstart.errors.KickstartParseWarning")
VERSION = "RHEL9"
COMMANDS = st.sampled_from(
    [
        "lang de_DE.UTF-8 --addsupport=fr_FR.UTF-8",
        "keyboard --vckeymap=de --xlayouts='de (nodeadkeys)','us'",
        "rootpw --iscrypted $6$x$y  # a comment",
        "user --name=al --groups=wheel,audio",
        'user --name=bo --gecos="Bo B."',
        "network --device=eth0 --bootproto=dhcp",
        "network --hostname=a.example",
        "services --enabled=sshd,chronyd",
        "firewall --enabled --ssh --port=80:tcp",
        'bootloader --append="quiet splash"',
        "repo --name=r --baseurl=http://x/y --cost=3",
        "part / --size=4000 --fstype=ext4",
        "# only a comment",
        "",
    ]
)
WISHES = st.sampled_from(
    ["vim", "-nano", "@core", "-@fonts", "@^server-product-environment", "kernel*", "", "# none"]
)
SCRIPT = st.sampled_from(
    ["echo {{ x }}", "cat <<'EOF'", "%dir /x", "# %end of it", "  indented", "${x%y}", "\\", ""]
)


@st.composite
def fragment(draw: st.DrawFn, later: list[str]) -> str:
    """Draw a fragment that may include those that come after it."""
    lines: list[str] = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["command", "packages", "script", "include"]))
        include = [f"%include {draw(st.sampled_from(later))}"] if later else []
        if kind == "command":
            lines.append(draw(COMMANDS))
        elif kind == "include":
            lines += include
        elif kind == "packages":
            option = draw(st.sampled_from(["", " --ignoremissing", " --exclude-weakdeps"]))
            lines += [f"%packages{option}", *draw(st.lists(WISHES, max_size=4)), "%end"]
        else:
            head = draw(
                st.sampled_from(
                    ["%post", "%pre --erroronfail", "%post --nochroot --log=/x", "%onerror"]
                )
            )
            lines += [head, *draw(st.lists(SCRIPT, max_size=4)), "%end"]
    return "\n".join(lines) + "\n"


@st.composite
def trees(draw: st.DrawFn) -> dict[str, str]:
    names = ["top.ks", "a.ks", "deep/b.ks", "c.ks"]
    # pykickstart looks beside the file that includes, so what is included from deep/ is there.
    later = {"top.ks": names[1:], "a.ks": names[2:], "deep/b.ks": [], "c.ks": []}
    return {name: draw(fragment(later[name])) for name in names}


def theirs(path: Path) -> str:
    handler = makeVersion(VERSION)
    KickstartParser(handler).readKickstart(str(path))
    return str(handler)


def ours(path: Path) -> tuple[str, Lines]:
    flat = flatten([(path.name, Location(file="x"))], [path.parent], {}, ("*",))
    handler = makeVersion(VERSION)
    text = "".join(f"{line.text}\n" for line in flat)
    KickstartParser(handler).readKickstartFromString(text)
    return str(handler), flat


@settings(max_examples=120, deadline=None)
@given(tree=trees())
def test_any_tree_of_fragments(
    tree: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("tree")
    (root / "deep").mkdir()
    for name, text in tree.items():
        (root / name).write_text(text)
    wanted = theirs(root / "top.ks")
    made, flat = ours(root / "top.ks")
    assert made == wanted
    # What the engines read of it are the same scripts, in the order in which they stand.
    # pykickstart leaves an empty script out, but puts its blank lines before the next of its kind.
    handler = makeVersion(VERSION)
    KickstartParser(handler).readKickstart(str(root / "top.ks"))
    # To pykickstart the lines of a script without a word belong to the next of that kind.
    scripts = [
        (each.script.lstrip("\n"), each.interp, each.inChroot, bool(each.errorOnFail))
        for each in handler.scripts
    ]
    assert [
        (each.body.lstrip("\n"), each.interpreter, each.in_chroot, each.error_on_fail)
        for each in parse(flat, VERSION).scripts
    ] == scripts


@pytest.mark.skipif(
    not Path(sys.executable).with_name("ksflatten").exists() and not shutil.which("ksflatten"),
    reason="pykickstart is installed without its programs",
)
def test_the_program_itself(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "top.ks").write_text("lang C\n%include deep/b.ks\n%packages\nvim\n%end\n")
    (tmp_path / "deep/b.ks").write_text("keyboard us\n%include c.ks\n")
    (tmp_path / "deep/c.ks").write_text("%packages\n-nano\n%end\n%post\necho x\n%end\n")
    program = shutil.which("ksflatten") or str(Path(sys.executable).with_name("ksflatten"))
    flat = tmp_path / "flat.ks"
    command = [program, "-c", str(tmp_path / "top.ks"), "-v", VERSION, "-o", str(flat)]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=60)
    assert ours(flat)[0] == ours(tmp_path / "top.ks")[0]
