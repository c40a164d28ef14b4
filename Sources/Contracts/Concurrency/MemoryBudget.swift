import Synchronization

/// What the server may hold in memory for its work, divided into named parts; one setting, `memory.budget`.
///
/// Work that needs memory in proportion to what a client sends or asks takes a `MemoryReservation` first and is refused with `unavailable` when
/// its part is full, so that no number of clients takes more than the part. It counts what the server was asked for, not what the process has:
/// code, models, online features and caches come on top. Safe from any thread; a reservation costs one short lock.
public final class MemoryBudget: Sendable {
    public enum Part: Int, Sendable, CaseIterable {
        /// Queries: DuckDB's own limit. DuckDB keeps to it by itself; nothing is reserved here.
        case analytics
        /// Tensors of ONNX models while they run. ONNX Runtime keeps to it by itself; nothing is reserved here.
        case models
        /// Bodies of requests that are held whole, and what they become when they are parsed.
        case requests
        /// Batches of rows while files are ingested.
        case ingest
        /// Bodies that pass through to the disk.
        case uploads
        /// Blocks of files on their way to clients.
        case responses

        /// Its share, in sixteenths.
        fileprivate var share: Int {
            switch self {
            case .analytics: 6
            case .requests: 4
            case .models, .ingest: 2
            case .uploads, .responses: 1
            }
        }
    }

    /// The least that a server works with.
    public static let bytesMin = 64 << 20

    /// The whole budget.
    public let bytes: Int
    private let taken = Mutex(MemoryBudget.none)
    fileprivate static let none = [Int](repeating: 0, count: Part.allCases.count)

    public init(bytes: Int) { self.bytes = bytes }

    public func capacity(of part: Part) -> Int { bytes / 16 * part.share }

    /// What is reserved now.
    public func used(by part: Part) -> Int { taken.withLock { $0[part.rawValue] } }

    fileprivate func take(_ count: Int, for part: Part) -> Bool {
        taken.withLock { taken in
            guard count <= capacity(of: part) - taken[part.rawValue] else { return false }
            taken[part.rawValue] += count
            return true
        }
    }

    fileprivate func giveBack(_ counts: [Int]) {
        taken.withLock { taken in for (i, count) in counts.enumerated() { taken[i] -= count } }
    }
}

/// What one piece of work holds of the budget. All of it is given back when the last reference goes.
public final class MemoryReservation: Sendable {
    /// That of the request that the current task works on.
    @TaskLocal public static var current: MemoryReservation?

    private let budget: MemoryBudget
    private let held = Mutex(MemoryBudget.none)

    public init(of budget: MemoryBudget) { self.budget = budget }

    /// Takes `count` more bytes.
    /// - Throws: `payloadTooLarge` when what this work holds would not fit even alone, `unavailable` when others hold too much now.
    public func take(_ count: Int, for part: MemoryBudget.Part) throws(KeelError) {
        let capacity = budget.capacity(of: part)
        guard count <= capacity - held.withLock({ $0[part.rawValue] }) else {
            throw KeelError(
                .payloadTooLarge, "this takes more than the \(capacity >> 20) MiB of memory that the server has for \(part)",
                hint: "send less at a time, or raise memory.budget")
        }
        guard budget.take(count, for: part) else {
            throw KeelError(.unavailable, "the server's memory for \(part) is in use", hint: "try again, or raise memory.budget")
        }
        held.withLock { $0[part.rawValue] += count }
    }

    deinit { budget.giveBack(held.withLock { $0 }) }
}
