"""Writing scripts: drafts, what is imported into them, and the pages on which that happens."""
