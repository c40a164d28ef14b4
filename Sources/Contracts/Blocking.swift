import Dispatch

/// Runs work that blocks (native engines, file I/O, processes) away from Swift's cooperative threads, of which there are only as many as cores.
public enum Blocking {
    private static let queue = DispatchQueue(label: "keel.blocking", attributes: .concurrent)

    public static func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { try body() }) }
        }
    }

    /// Runs work in place when its input is small, and away from Swift's threads when it is large enough to keep others waiting.
    // Inlined into its callers it crashes the compiler (CONTRIBUTING.md, faults of the compiler).
    @inline(never)
    public static func unlessSmall<T: Sendable>(_ bytes: Int, _ body: @escaping @Sendable () throws -> T) async throws -> T {
        guard bytes > smallBytes else { return try body() }
        return try await run(body)
    }

    private static let smallBytes = 64 << 10
}
