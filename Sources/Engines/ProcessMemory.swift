import CDuckDB

/// How this process gives memory back to the system.
///
/// glibc keeps what is freed: in an arena for each busy thread, and, once a large buffer was freed, in the heap for every buffer up to that size. A
/// server that has read one large file would stay as large as it was then.
public enum ProcessMemory {
    /// Buffers from this size on are mapped by themselves, and go back when they are freed.
    private static let mappedBytes: Int32 = 1 << 20
    private static let arenasMax: Int32 = 4

    /// Call it once, before work begins.
    public static func keepLittle() {
        mallopt(M_MMAP_THRESHOLD, mappedBytes)
        mallopt(M_ARENA_MAX, arenasMax)
    }

    /// Gives back what is free; for the end of work that took much. It takes some milliseconds.
    public static func trim() { malloc_trim(0) }
}
