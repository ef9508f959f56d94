//! Provisions and runs stock PostgreSQL, and asks it for the truth
