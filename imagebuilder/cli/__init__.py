"""The command line: the only place that prints or exits."""

import gc

# Loading code makes many objects and no garbage: looking for some at each step costs a tenth of
# the time that a command with nothing to do takes.
gc.set_threshold(50_000, 20, 20)
