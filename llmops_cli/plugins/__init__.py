"""The tables of scorers and providers, and the one place that loads the code behind them."""
