"""Sphinx builds the docs with this: `python3 run.py docs`.

Rules: the built pages ask no other host for anything, and a warning is an error.
"""

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "everyhop"
project_copyright = "The everyhop authors"
extensions = ["myst_parser"]
myst_heading_anchors = 2
nitpicky = True

html_theme = "furo"
html_title = "everyhop"
html_copy_source = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """Show state diagrams as their text: every diagram also stands there as a table, and drawing it needs a script."""
    app.add_lexer("mermaid", TextLexer)
