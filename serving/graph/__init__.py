"""From a finished run to a SavedModel that adapts in the request."""
