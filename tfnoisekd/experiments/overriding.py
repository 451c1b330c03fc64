"""Settings of a grid that are given anew on the command line, and what follows for what it asks and compares."""

from tfnoisekd.experiments.questions import matches


def overridden(settings, overrides):
    """A grid's settings, some of them given anew.

    Args:
        settings: Mapping as in the grid's YAML; its axes are changed in place.
        overrides: Mapping of setting -> value, or list of values of an axis.

    Returns:
        A mapping like `settings`.
    """
    settings = {**settings, "shared": {**(settings.get("shared") or {})}}
    for name, value in overrides.items():
        parts = [settings.get("axes") or {}, *(settings.get("blocks") or [])]
        owners = [part for part in parts if name in part]
        for part in owners:
            part[name] = value
        if owners:
            _forget(settings, name, value if isinstance(value, list) else [value])
        if not owners or (name in settings["shared"] and not isinstance(value, list)):
            settings["shared"][name] = value
    return settings


def _forget(settings, name, values):
    """Lets evaluations and comparisons that ask for values of an axis that are gone ask for any of the new ones."""

    def gone(side):
        return name in side and not any(matches({name: side[name]}, {name: each}) for each in values)

    def rest(side):
        return {axis: value for axis, value in side.items() if axis != name}

    evaluations, comparisons = settings.get("evaluations") or [], []
    for each in evaluations:
        if gone(each.get("where") or {}):
            each["where"] = {**each["where"], name: values}
    for each in settings.get("comparisons") or []:
        of, against = each.get("of") or {}, each.get("against") or {}
        if gone(of) or gone(against):
            if name in of and name in against and of[name] != against[name]:
                continue  # it compared values of this axis
            each = {**each, "of": rest(of), "against": rest(against)}
        if each not in comparisons:
            comparisons.append(each)
    settings["comparisons"] = comparisons
