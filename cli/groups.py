"""Help in sections: options of one purpose stand together."""

import click

REST = "Data and runs"


def group(title):
    """A decorator like `click.option`, whose options stand under a title in the help of a `GroupedCommand`."""

    def option(*names, **attributes):
        return click.option(*names, cls=GroupedOption, group=title, **attributes)

    return option


class GroupedOption(click.Option):
    """An option that knows the title it stands under."""

    def __init__(self, *arguments, group, **attributes):
        super().__init__(*arguments, **attributes)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help has a section for each group of options, and at the end one for those of no group."""

    def format_options(self, context, formatter):
        sections = {}
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None and isinstance(parameter, click.Option):
                title = parameter.group if isinstance(parameter, GroupedOption) else REST
                sections.setdefault(title, []).append(record)
        for title, records in sorted(sections.items(), key=lambda section: section[0] == REST):
            with formatter.section(title):
                formatter.write_dl(records)
