//! Integration tests: the promises of the README, run against the real binaries
