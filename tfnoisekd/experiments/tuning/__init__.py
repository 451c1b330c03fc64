"""Tuning: keras-tuner chooses settings, each trial is a run like any other, judged on the validation images alone.

`space` says what may vary, `search` what a search is, `folder` what is kept of it, `trial` trains one, `oracles` and
`tuner` are keras-tuner's, made safe against kills, `crew` and `ray_crew` have several processes at it.
"""
