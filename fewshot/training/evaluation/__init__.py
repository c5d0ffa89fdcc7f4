"""What a finished run is worth: tasks, baselines, figures with intervals, reports."""
