"""Step 4: how well a fine-tuned model does, how sure that is, what it had to beat, and a report people can read."""
