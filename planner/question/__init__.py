"""Planning questions: request, budget and objective; predicted bytes and seconds of candidates."""
