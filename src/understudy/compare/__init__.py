"""The leaderboard of a sweep: what the audits of several runs say, side by side. It reads their files, no picture."""
