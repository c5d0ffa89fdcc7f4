"""The region's own labels decide: methods compared by spatial cross-validation, and confidence that means something."""
