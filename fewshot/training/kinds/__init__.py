"""The kinds of task: labelled images, labelled pixels, waves."""
