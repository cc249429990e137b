from __future__ import annotations

import json

from imagebuilder.distro import find
from imagebuilder.image import Package, PackageList
from imagebuilder.sbom import sbom

PACKAGES = PackageList(
    packages=(
        Package(name="bash", version="5.2.15-2+b7", arch="amd64"),
        Package(name="libc6", version="2.36-9", arch="amd64"),
        Package(name="libc6", version="2.36-9", arch="i386"),
    )
)


def test_every_package_is_a_component_with_its_purl() -> None:
    made = json.loads(sbom("base", "0123456789abcdef", find("debian-12"), PACKAGES))
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert made["metadata"]["component"]["type"] == "operating-system"
    assert made["metadata"]["component"]["name"] == "base"
    assert [each["purl"] for each in made["components"]] == [
        "pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12",
        "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12",
        "pkg:deb/debian/libc6@2.36-9?arch=i386&distro=debian-12",
    ]
    below = {each["ref"]: each.get("dependsOn", []) for each in made["dependencies"]}
    assert len(below["image"]) == 3


def test_same_image_has_the_same_bytes_whenever_it_is_made() -> None:
    first, second = (sbom("base", "0123456789abcdef", find("debian-12"), PACKAGES) for _ in "ab")
    assert first == second
    assert "timestamp" not in first
    assert first != sbom("base", "0123456789abcdee", find("debian-12"), PACKAGES)
