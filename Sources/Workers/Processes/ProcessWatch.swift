import Contracts
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Looks at what programs take, several times a second, and says so when it is more than they may.
///
/// Limits of the system are for each process alone; this one is for a program with everything it starts. Between two looks it can take more.
final class ProcessWatch: Sendable {
    static let shared = ProcessWatch()
    static let pause = Duration.milliseconds(250)

    struct Limits: Sendable {
        var memoryBytes: Int64
        var processes: Int
    }

    private struct Watched {
        let limits: Limits
        let exceeded: @Sendable (_ what: String) -> Void
        var usage = ProcessTable.Usage()
    }

    private struct State {
        var watched: [pid_t: Watched] = [:]
        var isLooking = false
    }
    private let state = Mutex(State())

    /// - Parameters:
    ///   - supervisor: of the program.
    ///   - exceeded: called with what it took too much of; not more than once is of use.
    func add(_ supervisor: pid_t, _ limits: Limits, exceeded: @escaping @Sendable (_ what: String) -> Void) {
        let mustStart = state.withLock { state in
            state.watched[supervisor] = Watched(limits: limits, exceeded: exceeded)
            defer { state.isLooking = true }
            return !state.isLooking
        }
        if mustStart { Task { await look() } }
    }

    func remove(_ supervisor: pid_t) { _ = state.withLock { $0.watched.removeValue(forKey: supervisor) } }

    /// What a program took when it was last looked at.
    func usage(of supervisor: pid_t) -> ProcessTable.Usage { state.withLock { $0.watched[supervisor]?.usage } ?? ProcessTable.Usage() }

    private func look() async {
        while true {
            try? await Task.sleep(for: ProcessWatch.pause)
            let roots = state.withLock { state in
                if state.watched.isEmpty { state.isLooking = false }
                return Set(state.watched.keys)
            }
            if roots.isEmpty { return }
            guard let usages = try? await Blocking.run({ ProcessTable.read().usage(below: roots) }) else { continue }
            for (call, what) in state.withLock({ note(usages, &$0) }) { call(what) }
        }
    }

    private func note(
        _ usages: [pid_t: ProcessTable.Usage], _ state: inout State
    ) -> [(call: @Sendable (String) -> Void, what: String)] {
        var out: [(call: @Sendable (String) -> Void, what: String)] = []
        for (id, usage) in usages {
            guard let watched = state.watched[id] else { continue }
            state.watched[id]?.usage = usage
            // Those of many processes that were just forked are mostly the same pages: the number says more.
            if usage.processes > watched.limits.processes {
                out.append((watched.exceeded, "started \(usage.processes) processes, more than its \(watched.limits.processes)"))
            } else if usage.memoryBytes > watched.limits.memoryBytes {
                out.append(
                    (
                        watched.exceeded,
                        "used \(usage.memoryBytes >> 20) MiB of memory, more than its \(watched.limits.memoryBytes >> 20) MiB"
                    ))
            }
        }
        return out
    }
}
