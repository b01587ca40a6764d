"""The documentation as a web site: `make docs` builds it with Sphinx into site/.

The root of the repository is the source folder, so the site has the layout of the repository, and every
relative link between documents works both on the site and wherever the repository is shown. The navigation is
added to README.md here, as its markup would be noise to whoever reads the file itself.
"""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path
from textwrap import dedent

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

project = "trajfmt"
author = copyright = "The trajfmt authors"
version = release = metadata.version("trajfmt")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
root_doc = "README"
default_role = "code"  # single backticks in docstrings
highlight_language = "none"  # of blocks that name none
include_patterns = ["*.md", "docs/**", "spec/**", "benchmarks/**"]
myst_heading_anchors = 4
suppress_warnings = [
    "misc.highlighting_failure",  # Pygments knows no language `regex`, which the specification uses
    "ref.python",  # trajfmt and mct both have a MissingError
]

html_theme = "furo"
html_title = f"trajfmt {release}"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_last_updated_fmt = ""
html_static_path = ["static"]
html_css_files = ["site.css"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_use_rtype = False

CONTENTS = {
    "Tutorials": """
        A first bundle <docs/tutorials/first-bundle>
        A first distillation <docs/tutorials/first-distillation>
        Your own training <docs/tutorials/your-own-training>
        Your own method <docs/tutorials/your-own-method>
        """,
    "Guides": """
        Installing <docs/installing>
        Storing <docs/storing>
        Distilling <docs/distilling>
        Methods <docs/methods>
        Reproducing the paper <docs/reproducing>
        The paper's claims <docs/paper>
        Looking <docs/looking>
        Python <docs/python>
        Resuming <docs/resuming>
        Other codebases <docs/codebases>
        Evaluating <docs/evaluating>
        Distilled sets of others <docs/sets>
        Addresses <docs/remote>
        Sharing <docs/sharing>
        Several processes <docs/scale>
        Progress and logs <docs/logging>
        Options in files, and sweeps <docs/sweeps>
        GPUs <docs/gpu>
        Expected times <docs/times>
        """,
    "Reference": """
        All pages <docs/README>
        Commands <docs/commands>
        Python: trajfmt <docs/site/api/trajfmt>
        Python: trajfmt.share <docs/site/api/trajfmt.share>
        Python: trajfmt.torch <docs/site/api/trajfmt.torch>
        Python: mct <docs/site/api/mct>
        Python: mct.api <docs/site/api/mct.api>
        Glossary <docs/glossary>
        Papers and code <docs/method>
        Measurements <benchmarks/RECORDS>
        Measurements on a GPU <benchmarks/gpu/RECORDS-gpu>
        Measurements of trust <benchmarks/trust/RECORDS>
        """,
    "Format": """
        Overview <spec/README>
        Specification <spec/v1/spec>
        Test vectors <spec/v1/vectors/README>
        JavaScript reader <spec/readers/javascript/README>
        Changes of the format <spec/CHANGELOG>
        """,
    "Project": """
        Contributing <CONTRIBUTING>
        Architecture <docs/architecture>
        Decisions <docs/decisions/README>
        Changes <CHANGELOG>
        Releasing <RELEASING>
        Security <SECURITY>
        """,
}
"""The navigation: sections with their pages. Sphinx warns of a page that is missing here."""


def setup(app: Sphinx) -> None:
    """Connect the functions below to the stages of a build."""
    app.connect("source-read", add_contents)
    app.connect("build-finished", add_index)


def add_contents(_app: Sphinx, name: str, source: list[str]) -> None:
    """Append the navigation to the home page, and to the page of decisions."""
    if name == "docs/decisions/README":
        source[0] += "\n\n```{toctree}\n:hidden:\n:glob:\n\n0*\n```\n"
    if name != root_doc:
        return
    for caption, pages in CONTENTS.items():
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{dedent(pages).strip()}\n```\n"


def add_index(app: Sphinx, failure: Exception | None) -> None:
    """Give the home page the name that web servers look for."""
    if failure is None and app.builder.format == "html":
        shutil.copyfile(Path(app.outdir, "README.html"), Path(app.outdir, "index.html"))
