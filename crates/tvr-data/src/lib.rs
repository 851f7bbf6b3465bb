//! The built-in world, feature files, videos, benchmarks and the loader.
