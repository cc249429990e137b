from pathlib import Path

from imagebuilder.catalog.schemas import schemas

DOCS = Path(__file__).parents[3] / "docs/schemas"
AGAIN = (
    'python -c "from pathlib import Path; from imagebuilder.catalog.schemas import write_schemas; '
    "write_schemas(Path('docs/schemas'))\""
)


def test_the_published_schemas_are_those_of_the_models() -> None:
    for name, text in schemas().items():
        assert (DOCS / name).read_text() == text, f"write them again: {AGAIN}"
    assert {path.name for path in DOCS.glob("catalog-*.json")} == set(schemas())
