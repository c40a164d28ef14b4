import Contracts

/// The partial aggregates of one tile as 64-bit words: exactly those that the features over it need.
///
/// Words: tile index, latest time in the tile, number of values, then as needed sum, M2 (sum of squared deviations), min, max,
/// last (time, created, value), first (time, created, value). Spread is merged after Chan, Golub and LeVeque (1979), which
/// does not cancel as sums of squares do.
struct PartialLayout: Sendable {
    typealias Words = UnsafeMutablePointer<UInt64>

    static let tile = 0, latest = 1, n = 2
    let kind: WordKind
    let stride: Int
    let sum: Int?, spread: Int?, min: Int?, max: Int?, last: Int?, first: Int?
    /// Distinct values are kept beside the words, in bags.
    let distinct: Bool

    init(_ kind: WordKind, _ needs: Set<Aggregate>) {
        self.kind = kind
        var next = 3
        func take(_ words: Int, if needed: Bool) -> Int? {
            guard needed else { return nil }
            defer { next += words }
            return next
        }
        sum = take(1, if: !needs.isDisjoint(with: [.sum, .mean, .stddev]))
        spread = take(1, if: needs.contains(.stddev))
        min = take(1, if: needs.contains(.min))
        max = take(1, if: needs.contains(.max))
        last = take(3, if: needs.contains(.last))
        first = take(3, if: needs.contains(.first))
        stride = next
        distinct = needs.contains(.countDistinct)
    }

    static let strideMax = 13

    @inline(__always) private func real(_ p: Words, _ i: Int) -> Double { Double(bitPattern: p[i]) }
    @inline(__always) private func signed(_ p: Words, _ i: Int) -> Int64 { Int64(bitPattern: p[i]) }

    @inline(__always) func clear(_ p: Words, tile: Int64) {
        p.update(repeating: 0, count: stride)
        p[PartialLayout.tile] = UInt64(bitPattern: tile)
        p[PartialLayout.latest] = UInt64(bitPattern: .min)
    }

    /// Adds one value. Values come in order of arrival: of two at one time and created time the later arrival is the last.
    @inline(__always) func add(_ p: Words, at: Int64, created: Int64, word: UInt64) {
        let before = p[PartialLayout.n]
        p[PartialLayout.n] = before + 1
        guard stride > 3 else { return }
        let x = kind.number(word)
        if let spread, let sum, before > 0 {
            let delta = x - real(p, sum) / Double(before)
            p[spread] = (real(p, spread) + delta * delta * Double(before) / Double(before + 1)).bitPattern
        }
        if let sum { p[sum] = (real(p, sum) + x).bitPattern }
        if let min, before == 0 || x < real(p, min) { p[min] = x.bitPattern }
        if let max, before == 0 || x > real(p, max) { p[max] = x.bitPattern }
        if let last, before == 0 || (signed(p, last), signed(p, last + 1)) <= (at, created) { set(p, last, at, created, word) }
        if let first, before == 0 || (at, created) < (signed(p, first), signed(p, first + 1)) { set(p, first, at, created, word) }
    }

    @inline(__always) private func set(_ p: Words, _ i: Int, _ at: Int64, _ created: Int64, _ word: UInt64) {
        p[i] = UInt64(bitPattern: at)
        p[i + 1] = UInt64(bitPattern: created)
        p[i + 2] = word
    }

    /// Adds a later tile to `p`.
    @inline(__always) func merge(_ p: Words, _ q: Words) {
        let (a, b) = (p[PartialLayout.n], q[PartialLayout.n])
        guard b > 0 else { return }
        if let spread, let sum {
            var total = real(p, spread) + real(q, spread)
            if a > 0 {
                let delta = real(q, sum) / Double(b) - real(p, sum) / Double(a)
                total += delta * delta * Double(a) * Double(b) / Double(a + b)
            }
            p[spread] = total.bitPattern
        }
        p[PartialLayout.n] = a + b
        if let sum { p[sum] = (real(p, sum) + real(q, sum)).bitPattern }
        if let min, a == 0 || real(q, min) < real(p, min) { p[min] = q[min] }
        if let max, a == 0 || real(q, max) > real(p, max) { p[max] = q[max] }
        if let last { (p + last).update(from: q + last, count: 3) }
        if let first, a == 0 { (p + first).update(from: q + first, count: 3) }
    }

    /// The value of one aggregate; `distinct` is the number of distinct values.
    @inline(__always) func value(_ p: Words, _ aggregate: Aggregate, distinct: Int, as type: DataType) -> Value {
        let n = p[PartialLayout.n]
        switch aggregate {
        case .count: return .int(Int64(n))
        case .countDistinct: return .int(Int64(distinct))
        case .sum: return finite(n, sum, p)
        case .mean: return n == 0 ? .null : sum.map { known(real(p, $0) / Double(n)) } ?? .null
        case .min: return finite(n, min, p)
        case .max: return finite(n, max, p)
        case .stddev: return n < 2 ? .null : spread.map { known((real(p, $0) / Double(n - 1)).squareRoot()) } ?? .null
        case .last: return n == 0 ? .null : last.map { kind.value(p[$0 + 2], as: type) } ?? .null
        case .first: return n == 0 ? .null : first.map { kind.value(p[$0 + 2], as: type) } ?? .null
        }
    }

    @inline(__always) private func finite(_ n: UInt64, _ i: Int?, _ p: Words) -> Value {
        n == 0 ? .null : i.map { known(real(p, $0)) } ?? .null
    }
    /// A sum beyond float64 is null, as every value that is not finite.
    @inline(__always) private func known(_ x: Double) -> Value { x.isFinite ? .double(x) : .null }
}
