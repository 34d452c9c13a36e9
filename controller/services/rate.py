"""A bound on how often something is done: a token bucket with an injected clock."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class TokenBucket:
    """Allows ``burst`` at once and ``per_second`` on average.  Times are seconds of a monotonic clock."""

    per_second: float
    burst: float
    tokens: float | None = None
    last: float = 0.0

    def take(self, now: float) -> bool:
        """Take a token; False where there is none."""
        if self.tokens is None:
            self.tokens = self.burst
        else:
            self.tokens = min(self.burst, self.tokens + (now - self.last) * self.per_second)
        self.last = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True
