"""Secrets that stand in fragments, and accounts that are too easy to get into."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagebuilder.command import redact
from imagebuilder.errors import Location
from imagebuilder.kickstart import Command
from imagebuilder.kickstart.redact import HIDDEN, redacted_line
from imagebuilder.lint import shell
from imagebuilder.lint.finding import Finding, found
from imagebuilder.lint.subject import ScriptText, Subject, words
from imagebuilder.secrets import PLACEHOLDER

_ACCOUNTS = ("rootpw", "sshpw", "user")
# crypt(5): a method between dollars; or what no password has as its hash, and so locks.
_HASH = re.compile(r"\$[0-9a-zA-Z-]+\$\S+|[!*]\S*")
_WEAK = re.compile(r"\$1\$\S+|[./0-9A-Za-z]{13}|_[./0-9A-Za-z]{19}")  # MD5, DES, BSDi
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
_ACCOUNT_LINE = re.compile(r"(?P<user>[A-Za-z_][\w.-]*):(?P<password>\S+)")
# NAME=value and --name=value, where the name says that the value is secret.
_ASSIGNMENT = re.compile(
    r"(?:^|[\s;(])(?:--)?(?P<name>[A-Za-z_][\w-]*)=(?P<value>\"[^\"]{0,4096}\"|'[^']{0,4096}'|[^\s;)]*)"
)
_USER_OF_URL = re.compile(r"://([^/\s@:]{1,256}:[^/\s@]{1,256})@")
_SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:password|passwd|passphrase|secret|token|api[_-]?key|psk)$", re.IGNORECASE
)
_HARMLESS = re.compile(r"(?:/\S*|true|false|yes|no|none|null|[01]|\*+|x+)?", re.IGNORECASE)
_ROOT_LOGIN = re.compile(r"^\s*PermitRootLogin\s+yes\b", re.IGNORECASE)


def check(subject: Subject) -> Iterator[Finding]:
    """Look at accounts, at options with passwords, at URLs, and at scripts."""
    for command in subject.kickstart.commands:
        yield from _of_command(command)
    for script in subject.scripts:
        yield from _of_accounts(script)
        for line in script.lines:
            yield from _of_line(line.text, line.where)


def _of_command(command: Command) -> Iterator[Finding]:
    data, where = command.data, command.where
    if redact(command.text) != command.text and not PLACEHOLDER.search(command.text):
        yield found("IB303", f"{command.name}: a user or password stands in a URL", where)
    if command.name == "rootpw" and "--allow-ssh" in command.options and not data.lock:
        yield found("IB305", "rootpw --allow-ssh lets root in over SSH with its password", where)
    is_hash_meant = command.name in _ACCOUNTS and bool(getattr(data, "isCrypted", False))
    for value in _hidden_words(command.text):
        if not value:
            yield found("IB304", f"{command.name}: the password is empty", where)
        elif PLACEHOLDER.search(value):
            continue
        elif is_hash_meant or (command.name == "bootloader" and value.startswith("grub.pbkdf2")):
            yield from _of_hash(value, command.name, where)
        elif command.name in _ACCOUNTS and value.startswith("$") and _HASH.fullmatch(value):
            text = f"{command.name}: a hash is given as the password itself: --iscrypted is missing"
            yield found("IB306", text, where, fix="write --iscrypted before it")
        else:
            yield found("IB301", f"{command.name}: the password stands in plain text", where)


def _hidden_words(text: str) -> Iterator[str]:
    """Give the values of a line that are not shown when it is saved."""
    for word, shown in zip(words(text), words(redacted_line(text)), strict=False):
        before, hidden, _ = shown.partition(HIDDEN)
        if hidden and word.startswith(before):
            yield word.removeprefix(before)


def _of_hash(value: str, what: str, where: Location) -> Iterator[Finding]:
    if value.startswith("grub."):
        return
    if _WEAK.fullmatch(value):
        yield found("IB306", f"{what}: the hash of the password is weak", where)
    elif not _HASH.fullmatch(value):
        yield found("IB301", f"{what}: what --iscrypted announces is no hash", where)


def _of_accounts(script: ScriptText) -> Iterator[Finding]:
    """Look for passwords that a script hands to chpasswd, passwd, useradd and usermod."""
    for document in script.documents:
        for words_ in shell.commands(document.reader.text):
            if shell.name_of(words_) == "chpasswd":
                for index, text in document.lines:
                    where = script.place(index + 1)
                    yield from _of_pair(text.strip(), where, _takes_hashes(words_))
    for statement in script.statements:
        where = script.place(statement.index + 1)
        for pipeline in shell.pipelines(statement.text):
            yield from _of_pipeline(pipeline, where)


def _of_pipeline(pipeline: list[list[str]], where: Location) -> Iterator[Finding]:
    first, last = pipeline[0], pipeline[-1]
    reader = shell.name_of(last)
    if shell.name_of(first) in ("echo", "printf"):
        if reader == "chpasswd":
            for word in first[1:]:
                yield from _of_pair(word, where, _takes_hashes(last))
        elif reader == "passwd" and "--stdin" in last:
            yield from _of_value(first[-1], "passwd --stdin", where)
    if reader == "chpasswd" and "<<<" in last[:-1]:
        text = last[last.index("<<<") + 1]
        yield from _of_pair(text, where, _takes_hashes(last))
    elif reader in ("useradd", "usermod"):
        yield from _of_option(last, where)
    elif reader == "passwd" and {"-d", "--delete"} & set(last):
        yield found("IB304", f"{' '.join(last[:3])}: the password is empty", where)


def _takes_hashes(chpasswd: list[str]) -> bool:
    return not {"-e", "--encrypted"}.isdisjoint(chpasswd)


def _of_pair(text: str, where: Location, is_hash: bool) -> Iterator[Finding]:
    pair = _ACCOUNT_LINE.fullmatch(text.removesuffix("\\n"))
    if not pair:
        return
    value = pair["password"]
    if is_hash and not PLACEHOLDER.search(value) and value.startswith("$"):
        yield from _of_hash(value, f"chpasswd of {pair['user']}", where)
    else:
        yield from _of_value(value, f"chpasswd of {pair['user']}", where)


def _of_value(value: str, what: str, where: Location) -> Iterator[Finding]:
    if shell.is_literal(value.replace("%s", "$")) and not PLACEHOLDER.search(value):
        yield found("IB301", f"{what}: the password stands in plain text", where)


def _of_option(part: list[str], where: Location) -> Iterator[Finding]:
    """Look at the option --password of useradd and usermod, which wants a hash."""
    for word, following in zip(part, [*part[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in ("-p", "--password"):
            value = value if equals else following
            if not value:
                yield found("IB304", f"{part[0]} {name}: the password is empty", where)
            elif not value.startswith("$") and not PLACEHOLDER.search(value):
                yield from _of_hash(value, f"{part[0]} {name}", where)


def _of_line(text: str, where: Location) -> Iterator[Finding]:
    if _PRIVATE_KEY.search(text):
        yield found("IB307", "a private key begins here", where)
    if _ROOT_LOGIN.match(text):
        yield found("IB305", "PermitRootLogin yes lets root in over SSH with a password", where)
    bare = text.strip()
    if bare.startswith("#") or PLACEHOLDER.search(text):
        return
    if "://" in text and any(shell.is_literal(each) for each in _USER_OF_URL.findall(text)):
        yield found("IB303", "a user and password stand in a URL", where)
    for each in _ASSIGNMENT.finditer(text):
        value = each["value"].strip("\"'")
        if (
            _SECRET_NAME.search(each["name"])
            and shell.is_literal(value)
            and not _HARMLESS.fullmatch(value)
        ):
            yield found("IB302", f"{each['name']} has a value that looks like a secret", where)
