import Synchronization

/// The isolation of a server's programs: chosen when it is first asked for, once.
public final class IsolationChoice: Sendable {
    private let choose: @Sendable () async throws -> ProgramIsolation
    private let task = Mutex<Task<ProgramIsolation, any Error>?>(nil)

    public init(_ choose: @escaping @Sendable () async throws -> ProgramIsolation) { self.choose = choose }

    public func value() async throws -> ProgramIsolation {
        let task = task.withLock { task in
            let chosen = task ?? Task { [choose] in try await choose() }
            task = chosen
            return chosen
        }
        return try await task.value
    }
}
