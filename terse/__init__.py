"""The command line and its reports: thin, over functions that a notebook can call too."""
