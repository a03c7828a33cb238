"""What is asked, and what candidates would cost: request, budget, predicted bytes, seconds."""
