"""The commands of `jointembed`, one file each; they join training and search."""
