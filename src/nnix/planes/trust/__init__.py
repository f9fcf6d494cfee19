"""Trust: whose word counts on who may originate what. The relying party of the exchange, and what it hands to routing."""
