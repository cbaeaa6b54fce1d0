"""The parts of the page, from the verdict to its limits. Each maps the facts to HTML, or to nothing."""
