"""Our own collector: what a visitor's browser knows of its clicks, posted with the form, as touches for the deals."""
