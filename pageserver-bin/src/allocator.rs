//! How the system's allocator keeps memory. Serves every program of the page server: what was freed is to go back
//! to the system, for others and for its cache of files.

/// Allocations of so many bytes get a mapping of their own, which goes when they are freed, and grows without being
/// copied.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 1 << 20;

/// Has large allocations returned to the system when they are freed. glibc does that at first, but learns from each that
/// is freed to keep the next of that size in its heaps, where what grew by doubling leaves holes: of the memory of a
/// long ingest that was a tenth. Elsewhere this does nothing.
pub fn return_large() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call takes two numbers, and touches nothing but the allocator's settings, under its lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}
