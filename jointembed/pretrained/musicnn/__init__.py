"""musicnn, a tagger of music (Pons and Serra 2019), with its tags and words as points of the same space."""
