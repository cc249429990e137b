"""JSON Schemas of formats that are not ours, written from their specifications."""

from typing import Any

SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
URL = {"type": "string", "pattern": "^https?://[^ ]+$"}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
RFC2822 = {
    "type": "string",
    "pattern": r"^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [0-9:]{8} \+0000$",
}


def table(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [each for each in properties if each not in optional],
        "additionalProperties": False,
    }


def mapping(value: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": value, "minProperties": 1}


TEXT: dict[str, Any] = {"type": "string"}
WORD = {"type": "string", "minLength": 1}
METADATA = table({"last-modified": TIME, "generator": TEXT}, ("generator",))

ARTIFACT = table({"location": URL, "signature": URL, "sha256": SHA256}, ("signature",))
FCOS_STREAM = table(
    {
        "stream": WORD,
        "metadata": METADATA,
        "architectures": mapping(
            table(
                {
                    "artifacts": mapping(
                        table(
                            {
                                "release": WORD,
                                "formats": mapping(
                                    table(
                                        {
                                            "kernel": ARTIFACT,
                                            "initramfs": ARTIFACT,
                                            "rootfs": ARTIFACT,
                                        }
                                    )
                                ),
                            }
                        )
                    )
                }
            )
        ),
    }
)
REASON = table({"reason": WORD})
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
FCOS_UPDATES = table(
    {
        "stream": WORD,
        "metadata": METADATA,
        "releases": {
            "type": "array",
            "items": table(
                {
                    "version": WORD,
                    "metadata": table(
                        {
                            "barrier": REASON,
                            "deadend": REASON,
                            "rollout": table(
                                {
                                    "start_epoch": {"type": "integer"},
                                    "start_percentage": SHARE,
                                    "duration_minutes": {"type": "integer"},
                                }
                            ),
                        },
                        ("barrier", "deadend", "rollout"),
                    ),
                }
            ),
        },
    }
)
STREAMS_INDEX = table(
    {
        "format": {"const": "index:1.0"},
        "updated": RFC2822,
        "index": mapping(
            table(
                {
                    "datatype": {"const": "image-ids"},
                    "format": {"const": "products:1.0"},
                    "path": WORD,
                    "products": {"type": "array", "items": WORD, "minItems": 1},
                    "updated": RFC2822,
                }
            )
        ),
    }
)
ITEM = table({"ftype": WORD, "path": WORD, "sha256": SHA256, "size": {"type": "integer"}})
# MAAS wants all four of them, and these facts of a product.
ITEMS = table(dict.fromkeys(("boot-kernel", "boot-initrd", "squashfs", "manifest"), ITEM))
FACTS = (
    *("arch", "os", "release", "release_codename", "release_title", "version", "label"),
    *("subarch", "subarches", "krel", "kflavor", "distro"),
)
PRODUCTS = table(
    {
        "format": {"const": "products:1.0"},
        "content_id": WORD,
        "datatype": {"const": "image-ids"},
        "updated": RFC2822,
        "products": mapping(
            table(
                {**dict.fromkeys(FACTS, WORD), "versions": mapping(table({"items": ITEMS}))},
            )
        ),
    }
)
DIGEST = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
DESCRIPTOR = table(
    {
        "mediaType": {"type": "string", "pattern": r"^[a-z]+/[a-z0-9.+-]+$"},
        "digest": DIGEST,
        "size": {"type": "integer"},
        "urls": {"type": "array", "items": URL},
        "annotations": mapping(TEXT),
        "artifactType": WORD,
    },
    ("urls", "annotations", "artifactType"),
)
OCI_INDEX = table(
    {
        "schemaVersion": {"const": 2},
        "mediaType": {"const": "application/vnd.oci.image.index.v1+json"},
        "manifests": {"type": "array", "items": DESCRIPTOR},
    }
)
OCI_MANIFEST = table(
    {
        "schemaVersion": {"const": 2},
        "mediaType": {"const": "application/vnd.oci.image.manifest.v1+json"},
        "artifactType": WORD,
        "config": DESCRIPTOR,
        "layers": {"type": "array", "items": DESCRIPTOR, "minItems": 1},
        "annotations": mapping(TEXT),
    }
)
MATCHBOX_PROFILE = table(
    {
        "id": WORD,
        "name": WORD,
        "boot": table(
            {
                "kernel": URL,
                "initrd": {"type": "array", "items": WORD},
                "args": {"type": "array", "items": WORD},
            }
        ),
    }
)
MATCHBOX_GROUP = table(
    {
        "id": WORD,
        "name": WORD,
        "profile": WORD,
        "selector": mapping(TEXT),
        "metadata": {"type": "object"},
    }
)
IMS = table(
    {
        "version": {"const": "1.0"},
        "created": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$"},
        "artifacts": {
            "type": "array",
            "items": table(
                {
                    "type": {"pattern": r"^application/vnd\.cray\.image\."},
                    "md5": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                    "link": table({"type": {"const": "s3"}, "path": WORD, "etag": WORD}),
                }
            ),
        },
    }
)
