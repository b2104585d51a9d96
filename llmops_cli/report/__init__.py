"""What a run is made into: its report, the stream of its cases, and its run file."""
