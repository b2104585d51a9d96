"""Looking at a project, and writing its files."""
