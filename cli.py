"""The command line's entry point. A command is a file in `fewshot/commands/` and a line in its list."""

from fewshot.commands import main
from fewshot.commands.quiet import quiet_tensorflow

__all__ = ["main"]

quiet_tensorflow()  # before TensorFlow is imported anywhere

if __name__ == "__main__":
    main()
