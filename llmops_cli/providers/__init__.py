"""What answers: model servers, applications of the user's own, and what needs no network."""
