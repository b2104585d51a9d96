"""Providers: model servers, the user's own applications, and offline providers."""
