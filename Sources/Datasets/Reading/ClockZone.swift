import Contracts
import Foundation

/// Turns clock times of a zone into instants. One offset is remembered for each hour that occurs, as asking the zone is slow.
struct ClockZone {
    private let zone: TimeZone
    private var offsets: [Int64: Int64] = [:]
    private var lastHour: Int64 = .min
    private var lastOffset: Int64 = 0

    init?(_ name: String) {
        guard let zone = TimeZone(identifier: name) else { return nil }
        self.zone = zone
    }

    /// The instant (µs) of a clock time (µs as if it were UTC). A time that occurs twice is the first; one that is skipped moves forward.
    mutating func instant(ofClock clock: Int64) -> Int64 {
        let hour = floorDivide(clock, 900_000_000)
        if hour == lastHour { return clock &- lastOffset }
        let offset = offsets[hour] ?? find(clock)
        if offsets.count > 100_000 { offsets.removeAll() }
        offsets[hour] = offset
        (lastHour, lastOffset) = (hour, offset)
        return clock &- offset
    }

    private func find(_ clock: Int64) -> Int64 {
        func offset(_ instant: Int64) -> Int64 {
            let date = Date(timeIntervalSince1970: Double(floorDivide(instant, 1_000_000)))
            return Int64(zone.secondsFromGMT(for: date)) * 1_000_000
        }
        // The offset before the change wins where both fit; transitions fall on quarter hours.
        let before = offset(clock &- offset(clock) &- 14_400_000_000)
        if offset(clock &- before) == before { return before }
        let after = offset(clock &- before)
        return offset(clock &- after) == after ? after : before
    }
}
