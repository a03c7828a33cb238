"""Decision rules: recommendation and its explanation, choice among stored runs, target search."""
