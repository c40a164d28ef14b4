#if canImport(Glibc)
    import Glibc
#endif

/// The file descriptors that the system gives this process. Each connection takes one, and so does each file that is open.
public enum FileDescriptors {
    /// Asks for all that the process may have: it is given fewer at its start.
    /// - Returns: how many it has now.
    public static func raiseLimit() -> Int {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(resource, &limit) == 0 else { return .max }
        var raised = limit
        raised.rlim_cur = limit.rlim_max
        return Int(clamping: setrlimit(resource, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur)
    }

    /// How many connections there may be at a time, so that a quarter of the descriptors is left for files, and of few nearly a hundred: without any left, connections that are open
    /// could do nothing with the database, and new ones would not be taken.
    public static func connectionsMax(_ wanted: Int, of limit: Int) -> Int { min(wanted, max(1, limit - max(limit / 4, min(96, limit / 2)))) }
}
