"""`python -m lb` is `lb`."""

from lb.cli import main

main()
