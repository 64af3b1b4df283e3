"""People who do not exist: heads made by formulas, rendered with every label known, from no photograph."""
