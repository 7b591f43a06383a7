"""``python -m chiaroscuro``."""

from chiaroscuro.cli import main

if __name__ == "__main__":
    main()
