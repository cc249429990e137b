"""The page docs/lint.md, made from the table of codes; ci/reference.py writes it."""

from __future__ import annotations

from imagebuilder.lint import GROUPS, Code

PAGE = """\
# Lint

<!-- Made by ci/reference.py from the codes in imagebuilder/lint/: change those, then run it. -->

`imagebuilder lint NAME…` (or `--all`) finds in seconds what would fail later, or should not be as it is.
Nothing is built, and no secret is asked for.

```sh
imagebuilder lint --all                     # lines for people
imagebuilder lint --all --json              # lines of JSON: {"lint": …}
imagebuilder lint --all --sarif lint.sarif  # a SARIF 2.1.0 log as well, for code hosting and editors
imagebuilder lint --all --code-quality gl-code-quality.json  # the same for merge requests of GitLab
imagebuilder lint --all --offline --strict  # never ask the mirrors; warnings count as errors do
```

The exit status is 0, or 2 if there is an error that is not waived; with `--strict`, or a warning.
A finding has a code, a severity, a place and a fix; what recipes share, such as a fragment, is said once.
`--all` also looks for fragments that no recipe uses.
Both logs for code hosting name files from the top of the git repository, wherever the project is in it.

## What it asks

- **The package index** that a build uses, looked at once a day: which packages the wish comes to, with all that they need.
  With `--offline` what the cache has must do, whatever its age.
- **The archive's lists of files** (`Contents`), for the units that packages bring.
  They are large (46 MB for Debian 12) and fetched by apt when they changed; only the units are kept.
  A unit that a package makes when it is installed, or that a generator makes at boot, is not known.
  Nor is anything said of units as long as a package is unknown.
- **shellcheck**, for the scripts; what it said of a script is remembered.
  Its remarks on constants are left out, since a rendered template is full of them.
  Without it the shell itself looks at the syntax. Scripts within here-documents are not looked into.
- **Python's parser**, for scripts in Python; those in other languages are not looked into.
- For Fedora, RHEL and their kin there is no index here: packages and units are not looked up, what is needed to boot is looked for among the names in `%packages`, and livemedia-creator's own refusals are said.

What was not looked at is said, as a note of code IB100.
Of a recipe that is `abstract` only the resolving and the waivers are looked at.

## Waivers

A recipe accepts a finding for a time, with a reason:

```toml
[[waivers]]
code = "IB506"
reason = "the vendor has no other installer; asked for one on 2027-01-10"
until = 2027-06-30
match = "kickstarts/site/agent.ks"   # what its place or text must contain; unset: anything
```

After that day the finding counts again, and the waiver is a finding itself.
So is one that matches nothing, or whose code there is not; these can't be waived.
A recipe's children have its waivers; `[remove]` takes one out by its code.
"""


def page() -> str:
    """Return the page on lint."""
    parts = [PAGE, "\n## All codes\n\n| code | severity | what was found |\n| --- | --- | --- |\n"]
    parts += [f"| `{each.code}` | {each.severity} | {each.title} |\n" for each in _all()]
    for group, codes in GROUPS.items():
        parts.append(f"\n## {group}\n")
        parts += [_section(each) for each in codes]
    return "".join(parts)


def _all() -> list[Code]:
    return [each for codes in GROUPS.values() for each in codes]


def _section(code: Code) -> str:
    language = "toml" if code.example_is == "recipe" else ""
    return (
        f"\n### {code.code}: {code.title}\n\n{code.meaning}\n\n"
        f"```{language}\n{code.example}\n```\n\nFix: {code.fix}.\n"
    )
