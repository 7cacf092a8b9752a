"""What a real build asks of a p2m: recorded events, the translations behind them, the stream to replay."""
