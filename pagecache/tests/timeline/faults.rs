//! Disks that are full or rotten, and streams that are damaged: what fails says so, and nothing else fails.
