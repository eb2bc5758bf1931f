"""Networks and scalars: models, targets, and the score that fuses both (the only floor that touches a network)."""
