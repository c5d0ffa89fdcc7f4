"""Every error this program raises on purpose.

    FewshotError
    ├── RecipeError       (ValueError)          a recipe or a setting is wrong
    ├── ManifestError     (ValueError)          a data manifest is wrong
    ├── DataNotFoundError (FileNotFoundError)   a file or folder of data is not there
    ├── DamagedDataError  (ValueError)          an image, archive or list is there but cannot be used
    ├── RasterError       (ValueError)          a raster does not fit what is asked of it
    ├── TaskError         (ValueError)          a task cannot be drawn as specified
    ├── ShapeError        (ValueError)          arrays that belong together do not fit together
    ├── DivergedError     (ArithmeticError)     adaptation or training left the finite numbers
    ├── ArtifactError     (ValueError)          a run folder, checkpoint or exported model is unusable
    └── ServerError       (ConnectionError)     a model server cannot be reached, or refuses to answer

Each leaf also inherits the builtin that a caller would reach for. A message says what was expected,
what was received, where, and what to do about it. The command line turns the whole tree into one
kind of exit (code 1, no traceback) in one place.
"""


class FewshotError(Exception):
    """Anything a user can mend; catch this to catch them all."""


class RecipeError(FewshotError, ValueError):
    """A recipe, or a setting given on the command line, is unknown or out of range."""


class ManifestError(FewshotError, ValueError):
    """A data manifest is malformed or disagrees with the files it describes."""


class DataNotFoundError(FewshotError, FileNotFoundError):
    """A file or folder that was named does not exist."""


class DamagedDataError(FewshotError, ValueError):
    """A file exists but is truncated, of the wrong size, or not what its place in the layout says."""


class RasterError(FewshotError, ValueError):
    """A raster's bands, grid, units or nodata do not fit what is asked of it."""


class TaskError(FewshotError, ValueError):
    """A task cannot be drawn from this region as specified."""


class ShapeError(FewshotError, ValueError):
    """Arrays that belong together differ in an axis they must share."""


class DivergedError(FewshotError, ArithmeticError):
    """An inner or outer loss became infinite or not a number."""


class ArtifactError(FewshotError, ValueError):
    """A run folder, a checkpoint or an exported model is missing a part or does not fit."""


class ServerError(FewshotError, ConnectionError):
    """A model server cannot be reached, or refuses to answer.

    Attributes:
        code: The gRPC name of what went wrong, such as "UNAVAILABLE".
    """

    def __init__(self, message: str, code: str = "UNAVAILABLE") -> None:
        """Keep the code beside the message."""
        super().__init__(message)
        self.code = code
