"""What a plan is: recommendation, explanation, answers, and the document that holds them."""
