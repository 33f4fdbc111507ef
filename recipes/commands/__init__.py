"""One thin file a command; its name is the command's, its docstring's first line the summary in `galley --help`."""
