import Contracts

/// The arithmetic of sawtooth windows, stated once for both engines: the online state uses the functions, the batch engine the SQL.
///
/// The head of a window is exact to the event, its tail moves in fixed hops. With `hop = max(length / 60, 1 s)`, an event at `at` is in
/// tile `floor(at / hop)`, and at instant `t` the window covers the events with
/// `at >= (floor(t / hop) − length / hop) · hop` and `at <= t`. A window so covers at least its length and at most a hop more.
/// All times are microseconds since 1970, UTC.
public struct Window: Sendable, Hashable, CustomStringConvertible {
    public let length: TimeSpan
    /// µs; how far the tail moves at once.
    public let hop: Int64
    /// How many full tiles the window reaches back from the head tile; at most 60.
    public let tiles: Int64

    private static let second: Int64 = 1_000_000
    private static let tilesMax: Int64 = 60

    /// - Throws: `invalidArgument` when the length is not a whole number of hops.
    public init(_ length: TimeSpan) throws(KeelError) {
        guard length.microseconds >= Window.second else {
            throw .invalid("a window of \(length) is too short", hint: "the shortest window is 1s")
        }
        guard length <= .declaredMax else {
            throw .invalid("a window of \(length) is too long", hint: "the longest window is \(TimeSpan.declaredMax)")
        }
        if length.microseconds <= Window.tilesMax * Window.second {
            guard length.microseconds % Window.second == 0 else {
                throw .invalid("a window of \(length) is not a whole number of seconds", hint: "windows up to 60s move by the second")
            }
            hop = Window.second
        } else {
            guard length.microseconds % Window.tilesMax == 0 else {
                throw .invalid(
                    "a window of \(length) does not divide into 60 equal tiles", hint: "use a length such as 90s, 15m, 1h or 30d")
            }
            hop = length.microseconds / Window.tilesMax
        }
        self.length = length
        tiles = length.microseconds / hop
    }

    public var description: String { length.description }

    @inline(__always) public func tile(_ at: Int64) -> Int64 { floorDivide(at, hop) }

    /// The first tile that the window covers at instant `t`.
    @inline(__always) public func firstTile(_ t: Int64) -> Int64 { tile(t) - tiles }

    /// The earliest instant that the window covers at instant `t`.
    @inline(__always) public func start(_ t: Int64) -> Int64 { firstTile(t) * hop }

    /// How far before `t` the window starts, as SQL over µs in `time` (an expression of type BIGINT).
    ///
    /// `t − start(t) = t − floor(t / hop) · hop + length = floorModulo(t, hop) + length`.
    public func reachSQL(_ time: String) -> String { "(((\(time) % \(hop)) + \(hop)) % \(hop) + \(length.microseconds))" }
}
