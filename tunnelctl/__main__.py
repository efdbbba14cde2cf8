"""Entry point of `python -m tunnelctl` and of the `tunnel` command."""

from tunnelctl.cli.main import main

if __name__ == "__main__":
    main()
