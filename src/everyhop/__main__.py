"""``python -m everyhop``: the command line, where no console script is installed."""

from everyhop.cli import main

main(prog_name="everyhop")
