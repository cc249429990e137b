"""lint: passwords in plain text."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import MakeProject
from lintkit import (
    codes,
    linted,
    of_fragment,
    with_fragment,
)

pytestmark = pytest.mark.usefixtures("knowing_engine")


@pytest.mark.parametrize(
    "text",
    [
        "rootpw correct-horse",
        "rootpw --iscrypted correct-horse",
        "user --name=a --password=correct-horse",
        "sshpw --username=root correct-horse --plaintext",
        "%post --erroronfail\nset -e\necho root:correct-horse | chpasswd\n%end",
        "%post --erroronfail\nset -e\necho 'root:correct-horse' |/usr/sbin/chpasswd\n%end",
        "%post --erroronfail\nset -e\nchpasswd <<EOF\nroot:correct-horse\nEOF\n%end",
        "%post --erroronfail --interpreter=/bin/bash\nchpasswd <<< root:correct-horse\n%end",
        "%post --erroronfail\nset -e\necho correct-horse | passwd --stdin root\n%end",
        "%post --erroronfail\nset -e\nusermod -p correct-horse root\n%end",
    ],
)
def test_passwords_in_plain_text(make_project: MakeProject, tmp_path: Path, text: str) -> None:
    found = linted(with_fragment(make_project, text), tmp_path, "r")
    assert "IB301" in codes(found)
    assert "correct-horse" not in repr([each.to_dict() for each in found])


@pytest.mark.parametrize(
    "text",
    [
        'rootpw --plaintext {{ secret("rootpw") }}',
        'user --name=a --password={{ secret("a") }}',
        "user --name=a --iscrypted --password=$6$salt$hash",
        "user --name=a --lock",
        '%post --erroronfail\nset -e\necho "root:{{ secret("x") }}" | chpasswd\n%end',
        '%post --erroronfail\nset -e\npw=$(cat /x)\necho "root:$pw" | chpasswd\n%end',
        "%post --erroronfail\nset -e\necho 'root:$6$salt$hash' | chpasswd -e\n%end",
        '%post --erroronfail\nset -e\nPASSWORD_FILE=/etc/pw\necho "$PASSWORD_FILE"\n%end',
        "%post --erroronfail\nset -e\n# curl https://a:b@example.org/\ntrue\n%end",
    ],
)
def test_no_passwords(make_project: MakeProject, tmp_path: Path, text: str) -> None:
    found = linted(with_fragment(make_project, text), tmp_path, "r")
    assert [each for each in found if each.code.startswith("IB30")] == []


def test_a_hash_without_iscrypted(make_project: MakeProject, tmp_path: Path) -> None:
    found = of_fragment(make_project, tmp_path, "\nuser --name=a --password=$6$salt$hash")
    assert ("IB306", "kickstarts/x.ks:2") in found
