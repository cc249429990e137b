"""``list`` and ``show``, through three levels of recipes and of fragments."""

from __future__ import annotations

import pytest
from clikit import Cli
from fakes import MakeProject

FILES = {
    "recipes/base.toml": """
        summary = "the base"
        distro = "debian-12"
        kickstarts = ["all.ks"]
        packages = ["vim"]
        [params]
        bridge = "br0"
        zone = "UTC"
        [kernel]
        args = ["quiet", "ro"]
        """,
    "recipes/middle.toml": """
        extends = "base"
        kickstarts = ["more.ks"]
        [params]
        bridge = "br1"
        [remove]
        kernel.args = ["ro"]
        """,
    "recipes/leaf.toml": """
        extends = "middle"
        [params]
        bridge = "br2"
        [kernel]
        args = ["debug"]
        """,
    "kickstarts/all.ks": """
        %include parts/time.ks
        rootpw --plaintext geheim
        %packages
        zsh
        openssh-server
        %end
        """,
    "kickstarts/parts/time.ks": "# the clock\ntimezone {{ zone }} --utc\n",
    "kickstarts/more.ks": """
        rootpw --lock
        timezone Europe/Berlin
        network --device={{ bridge }} --bootproto=dhcp
        %packages
        -zsh
        %end
        """,
}


@pytest.fixture
def look(make_project: MakeProject, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(make_project(FILES), capsys)


def test_why_a_param_through_three_levels(look: Cli) -> None:
    assert look("show", "leaf", "--why", "params.bridge") == 0
    assert look.out.splitlines() == [
        'recipes/base.toml:6: params.bridge = "br0", replaced by recipes/middle.toml:4',
        'recipes/middle.toml:4: params.bridge = "br1", replaced by recipes/leaf.toml:3',
        'recipes/leaf.toml:3: params.bridge = "br2"',
    ]
    whole = look.out
    assert look("show", "leaf", "--why", "bridge") == 0  # its name alone will do
    assert look.out == whole


def test_why_a_list_and_what_was_taken_out_of_it(look: Cli) -> None:
    assert look("show", "leaf", "--why", "kernel.args") == 0
    assert look.out.splitlines() == [
        'recipes/base.toml:9: kernel.args = "ro", removed by recipes/middle.toml:6',
        'recipes/base.toml:9: kernel.args.0 = "quiet"',
        'recipes/leaf.toml:5: kernel.args.1 = "debug"',
    ]


def test_why_a_command_of_a_fragment_that_is_included(look: Cli) -> None:
    assert look("show", "leaf", "--why", "timezone") == 0
    assert look.out.splitlines() == [
        "kickstarts/parts/time.ks:2: timezone UTC --utc, replaced by kickstarts/more.ks:2",
        "    with zone of recipes/base.toml:7",
        "    by way of recipes/base.toml:3 → kickstarts/all.ks:1",
        "kickstarts/more.ks:2: timezone Europe/Berlin",
        "    by way of recipes/middle.toml:2",
    ]


def test_why_a_password_does_not_tell_it(look: Cli) -> None:
    assert look("show", "leaf", "--why", "rootpw") == 0
    assert "geheim" not in look.out
    assert look.out.splitlines()[0] == (
        "kickstarts/all.ks:2: rootpw --plaintext ********, replaced by kickstarts/more.ks:1"
    )


def test_why_a_secret_says_where_it_comes_from_and_looks_nothing_up(
    look: Cli, make_project: MakeProject
) -> None:
    make_project(
        {
            "imagebuilder.toml": '[secrets.site]\ncommand = ["false"]\n[secrets.kim]\nfile = "x"\n',
            "recipes/parent.toml": """
                distro = "debian-12"
                kickstarts = ["secret.ks"]
                [secrets.site]
                env = "SITE"
                file = "~/site"
                """,
            "recipes/child.toml": 'extends = "parent"\n',
            "kickstarts/secret.ks": """
                rootpw {{ secret("site") }}
                user --name=kim --password={{ secret("kim") }}
                %post
                echo {{ secret("other") }}
                %end
                """,
        }
    )
    assert look("show", "child", "--why", "rootpw") == 0
    assert look.out.splitlines()[:2] == [
        "kickstarts/secret.ks:1: rootpw ********",
        "    with the secret site of recipes/parent.toml:3: the environment variable SITE, "
        "else the file ~/site",
    ]
    assert look("show", "child", "--why", "user") == 0
    assert look.out.splitlines()[1] == (
        "    with the secret kim of imagebuilder.toml:3: the file x"
    )
    assert look("show", "child", "--why", "secrets.kim") == 0
    assert look.out == "imagebuilder.toml:3: secrets.kim is the file x\n"
    assert look("show", "child", "--json", "--why", "%post") == 0
    (reason,) = look.data("origin")
    assert reason["secrets"] == [
        {
            "name": "other",
            "sources": ["the environment variable IMAGEBUILDER_SECRET_OTHER"],
            "where": None,
        }
    ]


def test_why_a_line_in_a_loop_names_what_the_loop_is_over(
    look: Cli, make_project: MakeProject
) -> None:
    make_project(
        {
            "recipes/loop.toml": """
                distro = "debian-12"
                kickstarts = ["loop.ks"]
                [params]
                mtu = 1400
                zones = [1, 2]
                tagged = true
                """,
            "kickstarts/loop.ks": """
                {% if mtu > 9000 %}
                lang C
                {% endif %}
                {% if tagged %}
                {% for zone in zones %}
                network --device=eth0 --vlanid={{ zone }}
                {% endfor %}
                {% endif %}
                """,
        }
    )
    assert look("show", "loop", "--json", "--why", "network") == 0
    for reason in look.data("origin"):
        assert {each["param"] for each in reason["uses"]} == {"zones", "tagged"}


def test_why_a_template_in_a_recipe_says_what_it_comes_to_and_with_what(
    look: Cli, make_project: MakeProject
) -> None:
    make_project(
        {
            "recipes/top.toml": """
                distro = "debian-12"
                abstract = true
                [params]
                bridge = "br0"
                raw = "{{ bridge }}"
                [kernel]
                args = ["quiet", "on={{ bridge }}.{{ recipe }}"]
                """,
            "recipes/low.toml": """
                extends = "top"
                preseed = ["p p/q password {{ secret('site') }}"]
                [params]
                bridge = "br7"
                [matrix.flavour.small]
                [[matrix.flavour.small.checks]]
                sysctl = "net.{{ bridge }}.{{ matrix.flavour }}"
                value = "1"
                """,
        }
    )
    name = "low-small"
    assert look("show", name, "--why", "kernel.args") == 0
    assert look.out.splitlines() == [
        'recipes/top.toml:7: kernel.args.0 = "quiet"',
        'recipes/top.toml:7: kernel.args.1 = "on=br7.low-small", '
        'from "on={{ bridge }}.{{ recipe }}"',
        "    with bridge of recipes/low.toml:4",
    ]
    assert look("show", name, "--why", "checks.0.sysctl") == 0
    assert look.out.splitlines() == [
        'recipes/low.toml:7: checks.0.sysctl = "net.br7.small", '
        'from "net.{{ bridge }}.{{ matrix.flavour }}"',
        "    with bridge of recipes/low.toml:4",
    ]
    assert look("show", name, "--why", "params.raw") == 0  # a param is no template
    assert look.out == 'recipes/top.toml:5: params.raw = "{{ bridge }}"\n'
    assert look("show", name, "--why", "preseed") == 0
    assert "with the secret site" in look.out


def test_why_a_line_that_is_made_with_a_param(look: Cli) -> None:
    assert look("show", "leaf", "--json", "--why", "network") == 0
    (reason,) = look.data("origin")
    assert reason["where"] == {"file": "kickstarts/more.ks", "line": 3, "key": None}
    assert reason["text"] == "network --device=br2 --bootproto=dhcp"
    assert reason["uses"][0]["param"] == "bridge"
    assert (reason["uses"][0]["where"]["file"], reason["uses"][0]["where"]["line"]) == (
        "recipes/leaf.toml",
        3,
    )
    assert reason["via"][0]["file"] == "recipes/middle.toml"
    assert reason["holds"] is True


def test_why_packages(look: Cli) -> None:
    assert look("show", "leaf", "--why", "packages.zsh") == 0
    assert [line for line in look.out.splitlines() if not line.startswith(" ")] == [
        "kickstarts/all.ks:4: wanted: zsh, taken out by kickstarts/more.ks:5",
        "kickstarts/more.ks:5: taken out: zsh",
    ]
    assert look("show", "leaf", "--why", "packages.vim") == 0
    assert "recipes/base.toml:4: wanted: vim" in look.out
    assert look("show", "leaf", "--why", "packages.openssh-server") == 0
    assert "by way of recipes/base.toml:3" in look.out


def test_why_a_package_is_not_there_that_a_recipe_took_out(look: Cli) -> None:
    (look.project.root / "recipes/without.toml").write_text(
        'extends = "leaf"\n[remove]\npackages = ["vim"]\n'
    )
    assert look("show", "without", "--why", "packages.vim") == 0
    assert look.out.splitlines() == [
        "recipes/base.toml:4: wanted: vim, removed by recipes/without.toml:3"
    ]
    (look.project.root / "recipes/without.toml").write_text(
        'extends = "leaf"\n[replace]\npackages = ["nano"]\n'
    )
    assert look("show", "without", "--why", "packages.vim") == 0
    assert look.out.splitlines() == [
        "recipes/base.toml:4: wanted: vim, replaced by recipes/without.toml:3"
    ]


def test_why_nothing_gives(look: Cli) -> None:
    assert look("show", "leaf", "--why", "params.brigde") == 2
    assert "did you mean 'params.bridge'?" in look.err


def test_show_as_json(look: Cli) -> None:
    assert look("show", "leaf", "--json") == 0
    (shown,) = look.data("recipe")
    assert shown["lineage"] == ["base", "middle", "leaf"]
    assert shown["params"] == {"bridge": "br2", "zone": "UTC"}
    assert "geheim" not in look.out


def test_list_names_variants_and_goes_on_after_one_that_is_wrong(
    look: Cli, make_project: MakeProject
) -> None:
    make_project(
        {
            "recipes/broken.toml": "kickstarts = 3\n",
            "recipes/common.toml": 'abstract = true\ndistro = "debian-12"\n',
            "recipes/m.toml": 'extends = "common"\n[matrix]\nflavour = ["x", "y"]\n',
        }
    )
    assert look("list", "--json") == 2
    assert [each["name"] for each in look.data("recipe")] == [
        "base",
        "leaf",
        "m-x",
        "m-y",
        "middle",
    ]
    assert look.data("recipe")[2]["matrix"] == {"flavour": "x"}
    assert look("list") == 2
    assert "recipes/broken.toml:1" in look.err
    assert "common" not in look.out
    assert look("list", "--abstract") == 2
    assert "abstract" in next(line for line in look.out.splitlines() if line.startswith("common"))


def test_one_variant_of_a_matrix_can_be_shown(look: Cli, make_project: MakeProject) -> None:
    make_project({"recipes/m.toml": 'distro = "debian-12"\n[matrix]\nflavour = ["x", "y"]\n'})
    assert look("show", "m-x", "--json") == 0
    assert look.data("recipe")[0]["matrix"] == {"flavour": "x"}
    assert look("show", "m") == 2
    assert "m-x, m-y" in look.err
