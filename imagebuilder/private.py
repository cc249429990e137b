"""What of a recipe must not leave this machine by way of a remote cache."""

from __future__ import annotations

from imagebuilder.kickstart import Kickstart
from imagebuilder.kickstart.redact import hidden_words
from imagebuilder.project import ResolvedRecipe
from imagebuilder.secrets import Vault


def why_image_private(resolved: ResolvedRecipe, kickstart: Kickstart, vault: Vault) -> str:
    """Return why the image of a recipe is not to be shared, or "" if it may be.

    Whoever can read the remote cache could read it out of the image.

    Args:
        resolved: the recipe.
        kickstart: its kickstart.
        vault: the secrets that were asked for when its steps were found.
    """
    if vault.values():
        return "it has the values of secrets"
    if has_debconf_password(resolved):
        return "the recipe's preseed has a password"
    if hidden_words(kickstart.lines.texts):
        return "the kickstart has a password, or the hash of one"
    return ""


def has_debconf_password(resolved: ResolvedRecipe) -> bool:
    """Whether an answer for debconf is a password: it lies in the package layer."""
    return any(line.split(None, 3)[2:3] == ["password"] for line in resolved.recipe.preseed)
