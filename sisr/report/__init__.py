"""The paper's `tables`, `figures` and `notebooks`, and its `claims`."""
