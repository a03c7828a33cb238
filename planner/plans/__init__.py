"""Data model of a plan: recommendation, explanation, answers, and the file that holds them."""
