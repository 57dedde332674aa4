"""HTTP routes, one blueprint per subject. Handlers only: the work is done elsewhere."""
