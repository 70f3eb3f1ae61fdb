"""Run the command line with `python -m tritonbuild`."""

from tritonbuild.cli import main

if __name__ == "__main__":
    main()
