"""`python -m fusionlit`."""

from fusionlit.main import main

if __name__ == "__main__":
    main()
