//! The pageserver binary: configuration, composition, command line
