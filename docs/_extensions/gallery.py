"""How sphinx-gallery orders the examples, and how it finds the pictures that they write."""

from pathlib import Path

from sphinx_gallery.scrapers import figure_rst

# From the first that a newcomer should read; others follow by name.
SECTIONS = (
    "functions",
    "descent",
    "networks",
    "images",
    "sequences",
    "generative",
    "boltzmann",
    "natural_gradient",
    "discriminants",
)
EXAMPLES = (
    "train_digits",
    "fit_a_curve",
    "custom_step",
    "convolution",
    "lenet",
    "memory",
    "filters_and_samples",
    "wake_and_sleep",
    "kl_balls",
    "score_and_hessian",
    "reparametrisation",
    "empirical_fisher",
    "cart_pole",
)


def _position(name, names):
    return (names.index(name) if name in names else len(names), name)


def section_order(path):
    """Sort key of a folder of the gallery."""
    return _position(Path(path).name, SECTIONS)


def example_order(filename):
    """Sort key of an example within its folder."""
    return _position(Path(filename).stem, EXAMPLES)


def written_pictures(block, block_vars, gallery_conf):
    """Show the picture that an example has saved beside itself, and move it into the documentation."""
    folder = Path(block_vars["src_file"]).parent
    paths = []
    for picture in sorted(folder.glob("*.png")):
        path = block_vars["image_path_iterator"].next()
        picture.replace(path)
        paths.append(path)
    return figure_rst(paths, gallery_conf["src_dir"])
