"""What a game gives: clips, trajectories, recorders, and splits that do not leak."""
