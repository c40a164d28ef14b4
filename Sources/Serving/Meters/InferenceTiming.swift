import Dispatch

/// Where the time of one inference went, in nanoseconds.
public struct InferenceTiming: Sendable, Hashable {
    public var decode = 0
    public var features = 0
    /// Nil for a request that never left its event loop.
    public var queue: Int?
    public var model = 0
    public var encode = 0
    public var log = 0
    /// From the request's arrival as a whole to its answer.
    public var whole = 0

    /// Reading features and running the model, with the waiting between them: what one release is compared with another by.
    public var scoring = 0
}

/// An instant of the monotonic clock, in nanoseconds. It is read several times a request, and costs two thirds of `ContinuousClock.now`.
struct Tick: Sendable {
    private let nanoseconds: UInt64

    static var now: Tick { Tick(nanoseconds: DispatchTime.now().uptimeNanoseconds) }

    static func + (start: Tick, nanoseconds: Int) -> Tick { Tick(nanoseconds: start.nanoseconds &+ UInt64(max(0, nanoseconds))) }

    /// Nanoseconds from another tick to this one.
    static func - (end: Tick, start: Tick) -> Int { Int(truncatingIfNeeded: end.nanoseconds &- start.nanoseconds) }
}
