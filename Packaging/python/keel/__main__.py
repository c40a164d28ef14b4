"""`keel`, and `python -m keel`: becomes the command, so that signals and exit codes are its own."""
import os
import sys

from keel import find_binary


def main() -> None:
    os.execv(find_binary(), ["keel", *sys.argv[1:]])


if __name__ == "__main__":
    main()
