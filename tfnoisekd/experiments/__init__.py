"""From one run to the tables of a paper: series of seeds, grids of settings, and who carries them out."""
