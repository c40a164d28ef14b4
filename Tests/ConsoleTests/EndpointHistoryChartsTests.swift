import Console
import Contracts
import Testing

@Suite("Charts of an endpoint over time")
struct EndpointHistoryChartsTests {
    @Test("a range is whole minutes, and the last is the one under way")
    func minutes() {
        let now = Timestamp(seconds: 1_700_000_099)
        for range in HistoryRange.allCases {
            let minutes = range.minutes(until: now)
            #expect(minutes.count == Int(range.span.seconds) / 60 && minutes.last == Timestamp(seconds: 1_700_000_040))
            #expect(zip(minutes, minutes.dropFirst()).allSatisfy { $1 - $0 == .seconds(60) })
        }
    }

    @Test("what is not known is a gap, or the number that stands for nothing")
    func gaps() {
        let minutes = HistoryRange.hour.minutes(until: Timestamp(seconds: 1_700_000_040)).suffix(3)
        let known = [minutes.first!: 0.5]
        let curve = EndpointHistoryCharts.curve("release 1", Array(minutes), known)
        #expect(curve["data"]?.array?.map { $0[1]?.text } == ["0.5", "null", "null"])
        let filled = EndpointHistoryCharts.curve("release 1", Array(minutes), known, missing: .int(0))
        #expect(filled["data"]?.array?.map { $0[1]?.text } == ["0.5", "0", "0"])
        #expect(filled["data"]?[0]?[0] == .int(minutes.first!.milliseconds))
    }
}
