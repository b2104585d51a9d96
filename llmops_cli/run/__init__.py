"""An evaluation: what to compare, the trials and scores that are missing, and the verdict."""
