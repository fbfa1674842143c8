"""Step 3: train on the task, with a loop that resumes exactly."""
