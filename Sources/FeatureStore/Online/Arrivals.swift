import Contracts
import Synchronization

/// Which rows of a dataset are in the online state, by the times at which they were accepted: what a read needs to say which of them it saw.
///
/// A read takes no lock of it.
final class Arrivals: Sendable {
    private static let none = Int64.max

    /// µs; every row accepted before it is in the state, unless an ingest is under way. `none` between two pushes.
    private let pushing = Atomic<Int64>(Arrivals.none)
    /// µs; every row ingested before it is in the state. `none` while no ingest is between the time of its rows and the state that has them.
    private let loading = Atomic<Int64>(Arrivals.none)
    private let newest = Atomic<Int64>(.min)
    /// µs; when each ingest under way took the time of its rows, or shortly before.
    private let loads = Mutex<[Int64]>([])

    /// Notes that rows accepted from `now` (µs) on may be in the state or not, until `endPush`. Pushes of one dataset come one after another.
    func beginPush(_ now: Int64) { pushing.store(now, ordering: .sequentiallyConsistent) }
    func endPush() { pushing.store(Arrivals.none, ordering: .sequentiallyConsistent) }

    /// As `beginPush` and `endPush`, for ingests, which may overlap: what has begun counts until its own end.
    func beginLoad(_ now: Int64) {
        loads.withLock { begun in
            begun.append(now)
            noteLoads(begun)
        }
    }
    /// - Parameter begun: as it was given to `beginLoad`.
    func endLoad(_ begun: Int64) {
        loads.withLock { all in
            if let i = all.firstIndex(of: begun) { all.remove(at: i) }
            noteLoads(all)
        }
    }
    private func noteLoads(_ begun: [Int64]) { loading.store(begun.min() ?? Arrivals.none, ordering: .sequentiallyConsistent) }

    /// Notes that rows accepted up to `time` (µs) are about to be seen.
    func willShow(upTo time: Int64) { newest.max(time, ordering: .sequentiallyConsistent) }

    /// µs; a read that begins at `now` sees every row that was accepted up to then.
    func seen(at now: Int64) -> Int64 {
        let begun = min(pushing.load(ordering: .sequentiallyConsistent), loading.load(ordering: .sequentiallyConsistent))
        return min(now, begun) - 1
    }

    /// µs; no row that was accepted later can have been seen. Times of rows run ahead of the clock when it was set back.
    func shown(at now: Int64) -> Int64 { max(now, newest.load(ordering: .sequentiallyConsistent)) }
}

/// Which rows the features of a request were read from.
public struct ReadBounds: Sendable, Hashable {
    /// Every row accepted up to then was in the features, with the exception of `inexact`.
    public let from: Timestamp
    /// No row accepted later was.
    public let until: Timestamp
    /// The rows of the request whose features lack something that they cover, because they were read as of a time too far before the newest event of
    /// their key.
    public let inexact: [Int]
}
