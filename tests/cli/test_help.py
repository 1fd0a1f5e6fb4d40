"""The list of commands comes from their files."""

from jointembed.cli import help, parser


def test_every_command_has_a_summary_that_fits_a_line_of_80_columns():
    commands = help.commands()
    assert {"fit", "index", "search"} <= set(commands) and not {"console", "parser"} & set(commands)
    width = max(map(len, commands))
    assert all(0 < len(summary) <= 80 - width - 4 for summary in commands.values())


def test_every_command_is_a_function_named_like_its_file_with_described_parameters():
    for name in help.commands():
        function = parser.load(name)
        assert function.__doc__
        if not parser.takes_words(function):
            assert all(parameter.help for parameter in parser.read_parameters(function)), name


def test_groups_list_every_command_once():
    grouped = [name for names in help.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(help.commands())
