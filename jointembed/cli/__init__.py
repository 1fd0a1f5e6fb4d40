"""The commands of `jointembed`, one file each: what joins the two halves."""
