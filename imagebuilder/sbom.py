"""The software bill of materials of an image: CycloneDX 1.6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from uuid import NAMESPACE_URL, uuid5

from imagebuilder.distro import Distro
from imagebuilder.image import Package, PackageList

if TYPE_CHECKING:
    from packageurl import PackageURL


def purl(
    package: Package, manager: Literal["dpkg", "rpm"], vendor: str, distro_id: str
) -> PackageURL:
    """Return the name of an installed package that other tools know.

    https://github.com/package-url/purl-spec: the types and namespaces of packages, with what
    tells them apart.

    Args:
        package: the package.
        manager: what installed it.
        vendor: who made it: ``debian``; "" if that is not known.
        distro_id: the release of the distribution: ``debian-12``.
    """
    from packageurl import PackageURL

    return PackageURL(
        type="rpm" if manager == "rpm" else "deb",
        namespace=vendor or None,
        name=package.name,
        version=package.version,
        qualifiers={"arch": package.arch, "distro": distro_id},
    )


def sbom(name: str, image_id: str, distro: Distro, packages: PackageList) -> str:
    """Return the bill of materials, JSON text.

    Nothing in it depends on when it was made: the same image has the same bytes.

    Args:
        name: the recipe's name.
        image_id: the image's id; the document's serial number follows from it.
        distro: what the packages are of.
        packages: what is installed.
    """
    # Loaded here, since only a build that makes an image needs it.
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    bom = Bom()
    bom.serial_number = uuid5(NAMESPACE_URL, f"imagebuilder:{name}:{image_id}")
    bom.metadata.timestamp = None  # type: ignore[assignment] # the schema does not ask for one
    root = Component(
        bom_ref="image", name=name, version=image_id, type=ComponentType.OPERATING_SYSTEM
    )
    bom.metadata.component = root
    made = []
    for package in packages.packages:
        component = Component(
            bom_ref=f"{package.name}:{package.arch}",
            name=package.name,
            version=package.version,
            purl=purl(package, packages.manager, distro.name, distro.id),
            type=ComponentType.LIBRARY,
        )
        bom.components.add(component)
        made.append(component)
    bom.register_dependency(root, made)
    text: str = JsonV1Dot6(bom).output_as_string(indent=1)
    return text + "\n"
