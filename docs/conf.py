"""Sphinx's configuration: `make docs` builds the pages, the reference and the gallery into docs/_build/html.

Warnings are errors. Nothing is fetched from the network, neither here nor by the pages: there is no intersphinx, and
formulas are text.
"""

import importlib.util
import sys
from pathlib import Path

import steepest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

from reference import write_pages  # noqa: E402

project = "steepest"
author = "The steepest developers"
project_copyright = author
version = release = steepest.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "reference",
    "tables",
]
root_doc = "index"
# README.md is the list of the pages for those who read them as files.
exclude_patterns = ["_build", "README.md", "gallery/**/GALLERY_HEADER.rst"]
templates_path = ["_templates"]
nitpicky = True
default_role = "obj"
smartquotes = False  # quotes in the docstrings are those of the language

# --- pages ------------------------------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# --- the reference, from the docstrings -------------------------------------------------------------------------

autosummary_generate = write_pages(HERE)
autosummary_ignore_module_all = False  # a page lists what its module's __all__ does
autosummary_imported_members = True
autodoc_typehints = "none"  # the docstrings say types, with shapes and units
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # the template lists them

# --- the gallery ------------------------------------------------------------------------------------------------

run_examples = r"\.py$"
if importlib.util.find_spec("gymnasium") is None:
    print("gymnasium is not installed: the gallery shows cart_pole.py without running it")
    run_examples = r"(?<!cart_pole)\.py$"
    suppress_warnings = ["image.not_readable"]  # its picture, on a page

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": run_examples,
    "within_subsection_order": "gallery.example_order",
    "subsection_order": "gallery.section_order",
    "image_scrapers": ("gallery.written_pictures",),
    "backreferences_dir": "api/examples",
    "doc_module": ("steepest",),
    "abort_on_example_error": True,
    "show_signature": False,
    "write_computation_times": False,
    "download_all_examples": False,
    "remove_config_comments": True,
}

# --- the look ---------------------------------------------------------------------------------------------------

# The theme of NumPy, SciPy and scikit-learn: readers know where things are, and it is kept by those projects.
html_theme = "pydata_sphinx_theme"
html_title = f"steepest {release}"
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "quick_start": [], "performance": [], "gallery/index": []}
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["steepest.css"]
