"""`python -m fusionlit`."""

from fusionlit.cli import main

if __name__ == "__main__":
    main()
