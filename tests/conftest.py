"""Shapes and types are checked at run time in the tests alone, so that users pay nothing for it."""

from jaxtyping import install_import_hook

install_import_hook("intaglio", "beartype.beartype")
