"""``python -m newgameplus`` is ``ngp``: what launchers of several processes start."""

from newgameplus.cli import main

if __name__ == "__main__":
    main()
