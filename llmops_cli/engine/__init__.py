"""Makes calls: as many as are safe, as fast as the model lets us, never more than was allowed."""
