"""What a run tells: its report, its cases one by one, its file."""
