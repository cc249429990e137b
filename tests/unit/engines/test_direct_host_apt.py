from __future__ import annotations

from pathlib import Path

from fakes import FakePrograms, written

from imagebuilder.engines.direct.host_apt import HostSources, host_proxies, host_sources


def hosts(folder: Path, files: dict[str, str]) -> tuple[str, ...]:
    written(folder, files)
    return host_sources("bookworm", folder).lines


def test_one_line_files_of_the_host(tmp_path: Path) -> None:
    lines = hosts(
        tmp_path,
        {
            "sources.list": """
                # deb http://off/debian bookworm main
                deb http://a/debian bookworm main contrib
                deb-src http://a/debian bookworm main
                deb [signed-by=/k.gpg] http://a/debian bookworm-updates main
                deb http://a/debian-security bookworm-security main
                deb http://a/debian bookworm-backports main
                deb http://a/debian trixie main
                deb http://vendor/x bookworm stable
                deb http://vendor/y ./
                deb http://vendor/z bookworm-z main
                deb http://a/debian bookworm main contrib
                """,
            "sources.list.d/b.list": "deb http://b/debian bookworm main",
            "sources.list.d/c.save": "deb http://c/debian bookworm main",
        },
    )
    assert lines == (
        "deb http://a/debian bookworm main contrib",
        "deb [signed-by=/k.gpg] http://a/debian bookworm-updates main",
        "deb http://a/debian-security bookworm-security main",
        "deb http://b/debian bookworm main",
    )


def test_deb822_files_of_the_host(tmp_path: Path) -> None:
    lines = hosts(
        tmp_path,
        {
            "sources.list.d/debian.sources": """
                # a comment
                Types: deb deb-src
                URIs: http://a/debian
                 http://b/debian
                Suites: bookworm bookworm-updates trixie
                Components: main
                # another
                Signed-By: /usr/share/keyrings/debian.gpg

                Types: deb
                URIs: http://c/security
                Suites: bookworm-security
                Components: main contrib

                types: deb
                URIs: http://off/debian
                Suites: bookworm
                Components: main
                Enabled: no

                Types: deb-src
                URIs: http://src/debian
                Suites: bookworm
                Components: main

                Types: deb
                URIs: http://vendor/x
                Suites: bookworm
                Components: stable
                """,
        },
    )
    key = "[signed-by=/usr/share/keyrings/debian.gpg] "
    assert lines == (
        f"deb {key}http://a/debian bookworm main",
        f"deb {key}http://a/debian bookworm-updates main",
        f"deb {key}http://b/debian bookworm main",
        f"deb {key}http://b/debian bookworm-updates main",
        "deb http://c/security bookworm-security main contrib",
    )


def derived(folder: Path, files: dict[str, str], suite: str = "trixie") -> HostSources:
    written(folder, files)
    return host_sources(suite, folder)


def test_another_release_of_debian_stands_in(tmp_path: Path) -> None:
    sources = derived(
        tmp_path,
        {
            "sources.list": """
                deb [signed-by=/k.gpg] http://a/debian bookworm main non-free-firmware # all
                deb http://a/debian bookworm-updates main
                deb http://a/debian bookworm-backports main
                deb http://vendor/x bookworm stable
                """,
            "sources.list.d/security.sources": """
                Types: deb
                URIs: http://a/debian-security
                Suites: bookworm-security
                Components: main
                """,
        },
    )
    assert sources.lines == (
        "deb [signed-by=/k.gpg] http://a/debian trixie main non-free-firmware",
        "deb http://a/debian trixie-updates main",
        "deb http://a/debian-security trixie-security main",
    )
    assert sources.origin == f"{tmp_path} of this host, with trixie in place of bookworm"


def test_only_one_release_stands_in_and_only_where_none_is_there(tmp_path: Path) -> None:
    both = {
        "sources.list": """
            deb http://new/debian forky main
            deb http://old/debian bookworm main
            """
    }
    assert derived(tmp_path, both).lines == ("deb http://new/debian trixie main",)
    native = derived(tmp_path, both, "bookworm")
    assert native.lines == ("deb http://old/debian bookworm main",)
    assert "in place of" not in native.origin
    assert derived(tmp_path, {"sources.list": "deb http://u/ubuntu noble main\n"}).lines == ()


def test_a_host_without_sources_or_with_odd_files(tmp_path: Path) -> None:
    assert host_sources("bookworm", tmp_path / "nosuch").lines == ()
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/x.list").write_bytes(b"deb http://a/\xff bookworm main\n")
    (tmp_path / "sources.list.d/y.sources").write_text("nonsense\n  more\n\n\n:\n")
    assert host_sources("bookworm", tmp_path).lines == ()


def test_proxies_of_the_host(fake_programs: FakePrograms) -> None:
    fake_programs.write(
        "apt-config",
        """
        cat <<'END'
        Acquire "";
        Acquire::http::Proxy "http://proxy:3128";
        Acquire::https::Proxy::mirror.example "DIRECT";
        Acquire::http::Timeout "3";
        Acquire::http::Proxy-Auto-Detect "/usr/bin/detect";
        Acquire::ftp::Proxy "";
        END
        """.replace("\n        ", "\n"),
    )
    assert host_proxies() == (
        'Acquire::http::Proxy "http://proxy:3128";',
        'Acquire::https::Proxy::mirror.example "DIRECT";',
        'Acquire::http::Proxy-Auto-Detect "/usr/bin/detect";',
    )
    fake_programs.write("apt-config", "exit 1")
    assert host_proxies() == ()
