"""`python -m tandem` is `tandem`."""

from tandem.admin.cli import main

main()
