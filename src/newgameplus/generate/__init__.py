"""Making levels: sampling under hard structure, then verify, repair, resample until what was asked for is delivered."""
