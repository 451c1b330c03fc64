"""Help with misspelt names."""

import difflib


def nearest(name, known):
    """Ends an error message: " Did you mean `x`?", or nothing if no known name is near."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean `{matches[0]}`?" if matches else ""
