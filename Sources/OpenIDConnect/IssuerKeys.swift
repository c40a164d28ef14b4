import Contracts

/// What is known of an issuer's keys, and when they are fetched again; without I/O.
///
/// Keys are fetched every `period`, or as the issuer's cache control says within `periods`. While that fails, it is tried again ever less often, and
/// the known keys go on until they are `keptFor` old. A token that names an unknown key brings the next fetch forward, to `spacing` after the last at the
/// earliest.
package struct IssuerKeys: Sendable {
    package enum Lookup: Sendable {
        case key(IssuerKey)
        /// There are no keys yet, or none that are young enough.
        case notYet
        /// No key has this name, or none is for the algorithm of a token that names no key.
        case unknown
        /// The key of this name is not for the algorithm.
        case unfit
        /// The token names no key, and several could have signed it.
        case ambiguous
    }

    package static let period = TimeSpan.seconds(300)
    package static let periods = TimeSpan.seconds(60)...TimeSpan.seconds(900)
    package static let spacing = TimeSpan.seconds(30)
    package static let keptFor = TimeSpan.hours(24)
    private static let retryMax = TimeSpan.seconds(60)
    /// How many unknown keys are told apart between two fetches.
    package static let askedMax = 64

    private var keys: [IssuerKey] = []
    private var fetchedAt: Timestamp?
    private var begunAt: Timestamp?
    private var dueAt = Timestamp.distantPast
    private var isFetching = false
    private var failures = 0
    /// Why the last fetch failed, and since when fetches fail.
    package private(set) var problem: (error: KeelError, since: Timestamp)?
    /// Unknown keys that were asked for: since the last fetch began, when it began, and before, without being in what it brought.
    private var asked: Set<String> = []
    private var awaited: Set<String> = []
    private var absent: Set<String> = []

    package init() {}

    // MARK: Keys

    package func find(_ id: String?, _ algorithm: SignatureAlgorithm, at now: Timestamp) -> Lookup {
        guard let fetchedAt, now < fetchedAt + IssuerKeys.keptFor else { return .notYet }
        guard let id else {
            let fitting = keys.filter { $0.fits(algorithm) }
            if fitting.count > 1 { return .ambiguous }
            return fitting.first.map(Lookup.key) ?? .unknown
        }
        let named = keys.filter { $0.id == id }
        if let key = named.first(where: { $0.fits(algorithm) }) { return .key(key) }
        return named.isEmpty ? .unknown : .unfit
    }

    /// Notes that a token was signed with a key that is not known, and brings the next fetch forward.
    /// - Parameter id: the name of the key, or another name under which it is asked for again.
    /// - Returns: whether the key may still come: it has not been looked for in a fetch yet.
    package mutating func mayCome(_ id: String, at now: Timestamp) -> Bool {
        if let begunAt { dueAt = min(dueAt, begunAt + IssuerKeys.spacing) }
        let isNew = !asked.contains(id) && !awaited.contains(id)
        if isNew {
            guard asked.count < IssuerKeys.askedMax else { return false }
            asked.insert(id)
        }
        return !absent.contains(id)
    }

    // MARK: Fetching

    package func isDue(at now: Timestamp) -> Bool {
        // A clock that was set back must not put the next fetch off.
        !isFetching && (now >= dueAt || begunAt.map { $0 > now } == true)
    }

    package mutating func begin(at now: Timestamp) {
        isFetching = true
        begunAt = now
        awaited.formUnion(asked)
        asked = []
    }

    /// Takes what a fetch brought.
    /// - Parameter maxAge: how long the issuer's cache control lets it be kept.
    /// - Returns: whether the keys are others than before.
    package mutating func finish(_ fetched: [IssuerKey], maxAge: TimeSpan?, at now: Timestamp) -> Bool {
        let hasChanged = fetched != keys
        isFetching = false
        keys = fetched
        fetchedAt = now
        failures = 0
        problem = nil
        let known = Set(fetched.compactMap(\.id))
        absent = awaited.subtracting(known)
        awaited = []
        asked.subtract(known)
        let period = maxAge.map { min(max($0, IssuerKeys.periods.lowerBound), IssuerKeys.periods.upperBound) } ?? IssuerKeys.period
        dueAt = now + period
        if !asked.isEmpty, let begunAt { dueAt = min(dueAt, begunAt + IssuerKeys.spacing) }
        return hasChanged
    }

    package mutating func fail(_ error: KeelError, at now: Timestamp) {
        isFetching = false
        failures += 1
        problem = (error, problem?.since ?? now)
        asked = Set(asked.union(awaited).prefix(IssuerKeys.askedMax))
        awaited = []
        dueAt = now + min(.seconds(1 << min(Int64(failures) - 1, 10)), IssuerKeys.retryMax)
    }

    /// What a failing issuer means for callers, for people; nil when nothing fails.
    package var outlook: String? {
        guard problem != nil else { return nil }
        guard let fetchedAt else { return "no token of it can be checked until they are" }
        return "the known ones are used until \(fetchedAt + IssuerKeys.keptFor)"
    }
}
