"""Chinese: every sentence a user reads in a result, by key; callers fill in `{names}`."""
