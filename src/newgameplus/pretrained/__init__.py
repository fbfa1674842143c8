"""Where pretrained models come from: one file per source, one contract for all."""
