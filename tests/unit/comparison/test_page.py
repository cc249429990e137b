"""The page of differences in a real browser: nothing is fetched, nothing sticks out."""

from __future__ import annotations

from pathlib import Path

from browser import Browser
from images import KICKSTART, REPORT, make

from imagebuilder import Options
from imagebuilder.comparison import compare_images, page


def test_in_a_browser(tmp_path: Path, browser: Browser) -> None:
    hostile = "</pre><script>document.title = 'run'</script><img src=http://127.0.0.1:9/x>"
    old = make(tmp_path)
    new = make(
        tmp_path,
        kernel_args=("quiet", "a" * 200),
        packages={"htop": "3.2", "libnl": "3.7", "vim": "1:0.1"},
        kickstart=KICKSTART.replace("vim\n", "vim\nhtop\n"),
        tree={
            "etc/motd": f"{hostile}\n{'a long line ' * 40}\n",
            "etc/systemd/system/multi-user.target.wants/chrony.service": "-> /x",
        },
        report=REPORT | {"boots": [REPORT["boots"][0] | {"seconds_to_multi_user": 12.0}]},
    )
    options = Options.make(cache_dir=tmp_path / "cache")
    found = compare_images(old, new, options=options)
    same = compare_images(old, old, options=options)
    path = tmp_path / "diff.html"
    path.write_text(page.of_comparisons([found, same]))
    for width in (1200, 360):
        browser.open(path, width=width)
        assert browser.requests == [path.as_uri()]
        assert browser.said == []
        assert browser.value("document.documentElement.scrollWidth") == width
        assert browser.value("document.title") == "How images differ"
    heads = "[...document.querySelectorAll('h3')].map(each => each.textContent)"
    assert browser.value(heads)[:5] == [
        "kernel arguments", "packages", "units", "files", "sizes and times",
    ]  # fmt: skip
    assert browser.value("document.querySelectorAll('li.added').length") == 3
    assert browser.value("document.querySelector('pre').textContent").count("<script>") == 1
    assert browser.value("document.querySelectorAll('.same').length") == 1
