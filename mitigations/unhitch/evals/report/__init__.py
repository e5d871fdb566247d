"""A scorecard for people: as one self-contained page (`page.render`), and as Markdown for a pull request."""
