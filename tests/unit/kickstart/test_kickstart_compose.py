from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import MakeProject

from imagebuilder.errors import InputError, Location
from imagebuilder.kickstart import Kickstart, compose
from imagebuilder.kickstart.document import lines_from_dict
from imagebuilder.kickstart.parse import parse

Composed = Callable[..., Kickstart]
Parsed = Callable[[str], Kickstart]


def at(kickstart: Kickstart, name: str) -> list[tuple[str, int | None]]:
    return [(each.where.file, each.where.line) for each in kickstart.all(name)]


def place(error: InputError) -> tuple[str, int | None]:
    assert error.where
    return (error.where.file, error.where.line)


# ----- include ------------------------------------------------------------------------------------


def test_include_chains(composed: Composed) -> None:
    made = composed(
        {
            "a.ks": "lang C.UTF-8\n%include deep/b.ks\ntimezone UTC\n",
            "deep/b.ks": "\n%include c.ks  # beside it\n%include top.ks\n",
            "deep/c.ks": "keyboard us\n",
            "top.ks": "skipx\n",
        }
    )
    assert [(each.name, each.where.file, each.where.line) for each in made.commands] == [
        ("lang", "kickstarts/a.ks", 1),
        ("keyboard", "kickstarts/deep/c.ks", 1),
        ("skipx", "kickstarts/top.ks", 1),
        ("timezone", "kickstarts/a.ks", 3),
    ]


def test_include_inside_sections(composed: Composed) -> None:
    made = composed(
        {
            "a.ks": "%packages\n%include list.inc\n-nano\n%end\n%post\n{% if x %}\n"
            "%include script.inc\n{% endif %}\necho end\n%end\n",
            "list.inc": "# a comment\nbash\n\nzsh # why\n",
            "script.inc": "echo one\n#!include two\n%include_not\n",
        },
        more="[params]\nx = true\n",
    )
    assert [(each.name, each.excluded, str(each.where)) for each in made.packages] == [
        ("bash", False, "kickstarts/list.inc:2"),
        ("zsh", False, "kickstarts/list.inc:4"),
        ("nano", True, "kickstarts/a.ks:3"),
    ]
    (script,) = made.scripts
    assert script.body == "echo one\n#!include two\n%include_not\necho end\n"
    assert str(script.where) == "kickstarts/a.ks:5"


def test_a_fragment_may_be_included_twice_but_not_by_itself(composed: Composed) -> None:
    files = {"a.ks": "%include b.ks\n%include b.ks\n", "b.ks": "skipx\n"}
    assert len(composed(files).all("skipx")) == 2
    circle = {"a.ks": "skipx\n%include b.ks\n", "b.ks": "\n%include ./a.ks\n"}
    with pytest.raises(InputError, match=r"circle: a\.ks → b\.ks → a\.ks") as caught:
        composed(circle)
    assert place(caught.value) == ("kickstarts/b.ks", 2)


@pytest.mark.parametrize(
    "target",
    ["/etc/passwd", "../../secret.ks", "../recipes/r.toml", "http://x/y.ks", "link.ks", "dir/s.ks"],
)
def test_what_lies_outside_is_refused(
    composed: Composed, make_project: MakeProject, tmp_path: Path, target: str
) -> None:
    (tmp_path / "secret.ks").write_text("skipx\n")
    (tmp_path / "s.ks").write_text("skipx\n")
    folder = make_project().root / "kickstarts"
    folder.mkdir()
    (folder / "link.ks").symlink_to(tmp_path / "secret.ks")
    (folder / "dir").symlink_to(tmp_path)
    with pytest.raises(InputError, match="lies outside") as caught:
        composed({"a.ks": f"skipx\n%include {target}\n"})
    assert place(caught.value) == ("kickstarts/a.ks", 2)


def test_a_link_that_stays_inside_is_followed(
    composed: Composed, make_project: MakeProject
) -> None:
    folder = make_project().root / "kickstarts"
    folder.mkdir()
    (folder / "link.ks").symlink_to("real.ks")
    made = composed({"a.ks": "%include link.ks\n", "real.ks": "skipx\n"})
    assert at(made, "skipx") == [("kickstarts/real.ks", 1)]


def test_a_missing_fragment_is_named_where_it_is_asked_for(composed: Composed) -> None:
    with pytest.raises(InputError, match=r"no fragment 'kvm\.ks'") as caught:
        composed({"a.ks": "\n%include kvm.ks\n", "deep/kvm.ks": ""})
    assert place(caught.value) == ("kickstarts/a.ks", 2)
    assert "did you mean 'deep/kvm.ks'?" in caught.value.fix
    with pytest.raises(InputError) as caught:
        composed({}, names=("nosuch.ks",))
    assert place(caught.value) == ("recipes/r.toml", 2)


@pytest.mark.parametrize("line", ["%include", "%include a b", "%include ''", '%include "x'])
def test_an_include_that_is_none(composed: Composed, line: str) -> None:
    with pytest.raises(InputError, match="%include") as caught:
        composed({"a.ks": f"\n{line}\n"})
    assert place(caught.value) == ("kickstarts/a.ks", 2)


def test_a_project_s_fragment_goes_before_our_own_of_that_name(composed: Composed) -> None:
    made = composed({"base/locale.ks": "lang C.UTF-8\n"}, names=("base/locale.ks",))
    assert [each.name for each in made.commands] == ["lang"]


# ----- bounds -------------------------------------------------------------------------------------


def test_a_deep_chain_of_includes_ends(composed: Composed) -> None:
    files = {f"{n}.ks": f"%include {n + 1}.ks\n" for n in range(200)}
    with pytest.raises(InputError, match="64 fragments include one another") as caught:
        composed(files, names=("0.ks",))
    assert place(caught.value) == ("kickstarts/63.ks", 1)


@pytest.mark.parametrize("last", ["", "skipx\n"])
def test_includes_that_double_each_time_end(composed: Composed, last: str) -> None:
    files = {f"{n}.ks": f"%include {n + 1}.ks\n" * 2 for n in range(40)}
    began = time.process_time()
    with pytest.raises(InputError, match="included"):
        composed({**files, "40.ks": last}, names=("0.ks",))
    assert time.process_time() - began < 20


def test_a_fragment_that_is_too_large(composed: Composed, make_project: MakeProject) -> None:
    folder = make_project().root / "kickstarts"
    folder.mkdir()
    with (folder / "big.ks").open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(InputError, match=r"kickstarts/big.ks .* at most 1 MiB") as caught:
        composed({"a.ks": "lang C\n%include big.ks\n"})
    assert place(caught.value) == ("kickstarts/a.ks", 2)


def test_bytes_that_are_no_text(composed: Composed, make_project: MakeProject) -> None:
    folder = make_project().root / "kickstarts"
    folder.mkdir()
    (folder / "odd.ks").write_bytes(b"skipx\n\n# caf\xe9\n")
    with pytest.raises(InputError, match="UTF-8") as caught:
        composed({"a.ks": "%include odd.ks\n"})
    assert place(caught.value) == ("kickstarts/odd.ks", 3)
    (folder / "odd.ks").write_bytes(b"\xef\xbb\xbfskipx\r\nlang C\r\n")
    made = composed({"a.ks": "%include odd.ks\n"})
    assert [each.text for each in made.commands] == ["skipx", "lang C"]


# ----- templates ----------------------------------------------------------------------------------


def test_templates_in_fragments(composed: Composed) -> None:
    made = composed(
        {"a.ks": "{% for n in names %}\nuser --name={{ n }}\n{% endfor %}\nlang {{ recipe }}\n"},
        more='[params]\nnames = ["a", "b"]\n',
    )
    assert [(each.text, each.where.line) for each in made.commands] == [
        ("user --name=a", 2),
        ("user --name=b", 2),
        ("lang r", 4),
    ]


def test_an_undefined_variable(composed: Composed) -> None:
    with pytest.raises(InputError, match="'nosuch' is undefined") as caught:
        composed({"a.ks": "%include b.ks\n", "b.ks": "skipx\nlang {{ nosuch }}\n"})
    assert place(caught.value) == ("kickstarts/b.ks", 2)


# ----- what is not valid --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("skipx\nnosuch --x\n", 2, "Unknown command: nosuch"),
        ("skipx\ntimezone UTC --nosuch\n", 2, "--nosuch"),
        ("skipx\nlang\n", 2, "lang"),
        ("rootpw 'open\n", 1, "quotation"),
        ("skipx\n%nosuch\n%end\n", 2, "%nosuch"),
        ("%post --nosuch\n%end\n", 1, "--nosuch"),
        ("%packages --nosuch\n%end\n", 1, "--nosuch"),
        ("%post\necho\n", 2, "does not end with %end"),
        ("%post\necho\n%packages\n%end\n", 3, "does not end with %end"),
        ("%post\n\f\n\u2028 \x85\n%end\nnosuch\n", 5, "Unknown command: nosuch"),
    ],
)
def test_what_is_wrong_has_its_line(parsed_error: object, text: str, line: int, what: str) -> None:
    error = parsed_error(text)  # type: ignore[operator]
    assert what in error.what
    assert place(error) == ("kickstarts/f.ks", line)


@pytest.fixture
def parsed_error() -> Callable[[str], InputError]:
    from imagebuilder.kickstart.flatten import Line

    def make(text: str) -> InputError:
        lines = text.removesuffix("\n").split("\n")
        numbered = [
            Line(each, Location(file="kickstarts/f.ks", line=n)) for n, each in enumerate(lines, 1)
        ]
        with pytest.raises(InputError) as caught:
            parse(tuple(numbered), "RHEL9")
        return caught.value

    return make


@pytest.mark.parametrize(
    "line", ['bootloader --append="{}"', "%post --log=/{}", "@{} --nodefaults", "%include {}"]
)
def test_a_line_that_is_far_too_long_is_refused_at_once(composed: Composed, line: str) -> None:
    text = line.format("a" * 900_000)
    inside = f"%packages\n{text}\n%end\n" if line[0] == "@" else f"\n{text}\n%end\n"
    began = time.process_time()
    with pytest.raises(InputError) as caught:
        composed({"a.ks": inside})
    assert time.process_time() - began < 10
    assert place(caught.value) == ("kickstarts/a.ks", 2)


def test_several_errors_are_said_at_once(composed: Composed) -> None:
    with pytest.raises(InputError) as caught:
        composed({"a.ks": "nosuch\n%include b.ks\nlang\n", "b.ks": "skipx\nservices --foo\n"})
    found = [caught.value, *caught.value.also]
    assert [place(each) for each in found if isinstance(each, InputError)] == [
        ("kickstarts/a.ks", 1),
        ("kickstarts/b.ks", 2),
        ("kickstarts/a.ks", 3),
    ]


def test_control_signs_of_text_move_no_lines(composed: Composed) -> None:
    made = composed({"a.ks": "%post\na\fb\n\u2028c\x85d\n%end\nlang C\n"})
    assert at(made, "lang") == [("kickstarts/a.ks", 5)]
    assert made.last("lang").text == "lang C"  # type: ignore[union-attr]
    assert made.scripts[0].body == "a\fb\n\u2028c\x85d\n"


def test_an_empty_kickstart(composed: Composed) -> None:
    assert composed({"a.ks": ""}).commands == ()
    assert composed({}, names=()).commands == ()


def test_warnings_have_a_place(composed: Composed) -> None:
    files = {
        "a.ks": "\n%include b.ks\n%packages --excludeWeakdeps\n%end\n",
        "b.ks": "lang C\ntimezone UTC --isUtc\nlogging --level=info\n",
    }
    first, second, third = composed(files).warnings
    assert first.startswith("kickstarts/b.ks:2: ")
    assert "--isUtc" in first
    assert second.startswith("kickstarts/b.ks:3: ")
    assert third.startswith("kickstarts/a.ks:3: ")
    assert "on line" not in first + second + third


def test_a_vlan_is_no_second_line_about_the_device_that_it_is_on(kickstart_of: Parsed) -> None:
    text = """
        network --device=eth0 --vlanid=5
        network --device=eth0 --bootproto=dhcp
        network --device=eth0 --vlanid=6
        network --device=eth0 --noipv6
        """
    (said,) = kickstart_of(text).warnings
    assert said.startswith("kickstarts/f.ks:4: ")


# ----- what it says -------------------------------------------------------------------------------


def test_each_line_has_its_own_data(kickstart_of: Parsed) -> None:
    made = kickstart_of("""
        services --enabled=a
        services --enabled=b --disabled=c
        lang C
        lang C.UTF-8
        network --hostname=x
        network --device=eth0 --bootproto=dhcp
        """)
    assert [each.data.enabled for each in made.all("services")] == [["a"], ["b"]]
    assert [each.data.disabled for each in made.all("services")] == [[], ["c"]]
    assert [each.data.lang for each in made.all("lang")] == ["C", "C.UTF-8"]
    assert made.last("lang").data.lang == "C.UTF-8"  # type: ignore[union-attr]
    assert [each.data.device for each in made.all("network")] == ["", "eth0"]
    assert made.last("nosuch") is None
    assert made.all("services")[1].options == ("--enabled", "--disabled")


def test_wishes(kickstart_of: Parsed) -> None:
    made = kickstart_of("""
        %packages --exclude-weakdeps
        bash
        -nano   # not this
        - vim
        @core
        @^minimal
        %end
        %post
        -not-a-wish
        %end
        %packages --ignoremissing
        zsh
        %end
        """)
    assert [(each.name, each.excluded, each.where.line) for each in made.packages] == [
        ("bash", False, 2),
        ("nano", True, 3),
        ("vim", True, 4),
        ("@core", False, 5),
        ("@^minimal", False, 6),
        ("zsh", False, 12),
    ]
    assert [each.name for each in made.packages if each.is_group] == ["@core", "@^minimal"]
    assert not made.weak_dependencies
    assert made.ignore_missing
    plain = kickstart_of("%packages\nbash\n%end\n")
    assert plain.weak_dependencies
    assert not plain.ignore_missing


def test_scripts(kickstart_of: Parsed) -> None:
    made = kickstart_of("""
        %post --nochroot --interpreter=/usr/bin/python3 --erroronfail --log=/mnt/sysimage/x
        print("%packages")
        %%end
        # %end
        %end
        %pre
        true
        %end
        """)
    post, pre = made.scripts
    assert (post.kind, post.in_chroot, post.error_on_fail) == ("post", False, True)
    assert (post.interpreter, post.log) == ("/usr/bin/python3", "/mnt/sysimage/x")
    assert post.body == 'print("%packages")\n%%end\n# %end\n'
    assert (pre.kind, pre.interpreter, pre.error_on_fail) == ("pre", "/bin/sh", False)
    assert [(each.name, each.where.line) for each in made.sections] == [("%post", 1), ("%pre", 6)]
    assert made.sections[0].options[0] == "--nochroot"


def test_kernel_arguments_add_up(kickstart_of: Parsed) -> None:
    made = kickstart_of("""
        bootloader --append="hugepagesz=1G hugepages=4"
        bootloader --location=none
        bootloader --append="hugepagesz=2M hugepages=4"
        """)
    # Each count belongs to the size before it: none is the other's repetition.
    assert made.kernel_args == ("hugepagesz=1G", "hugepages=4", "hugepagesz=2M", "hugepages=4")


def test_json_and_back(composed: Composed) -> None:
    made = composed(
        {"a.ks": "lang C\n%include b.ks\n", "b.ks": "rootpw --plaintext x\n%post\necho ä\n%end\n"}
    )
    data = json.loads(json.dumps(made.to_dict()))
    again = parse(lines_from_dict(data), data["version"])
    assert [(each.text, each.where) for each in again.lines] == [
        (each.text, each.where) for each in made.lines
    ]
    assert again.text == made.text
    assert [(each.body, each.where) for each in again.scripts] == [
        (each.body, each.where) for each in made.scripts
    ]
    assert [(each.text, each.where) for each in again.commands] == [
        (each.text, each.where) for each in made.commands
    ]


def test_two_threads_compose_at_once(make_project: MakeProject) -> None:
    from concurrent.futures import ThreadPoolExecutor

    project = make_project(
        {
            f"recipes/r{n}.toml": f'distro = "debian-12"\nkickstarts = ["k{n}.ks"]\n'
            for n in range(8)
        }
        | {f"kickstarts/k{n}.ks": f"lang C.{n}\nservices --enabled=s{n}\n" for n in range(8)}
    )
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: compose(project.resolve(f"r{n % 8}")), range(12)))
    for n, each in enumerate(made):
        assert each.last("lang").data.lang == f"C.{n % 8}"  # type: ignore[union-attr]
        assert each.all("services")[0].data.enabled == [f"s{n % 8}"]
