"""The command line's entry point. A command is a file in `fewshot/commands/` and a line in its list."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported anywhere

from fewshot.commands import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
