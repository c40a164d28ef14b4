import Contracts

/// Customers of a shop that does not exist, month by month: the more of their tickets are open and the less they spend, the likelier they leave.
enum SampleTable {
    static let csv: String = {
        var state: UInt64 = 2026
        // A linear congruential generator: the same table on every machine.
        func draw(_ below: UInt64) -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % below
        }
        var lines = ["id,customer,at,spend,visits,tickets,churned"]
        let start = Timestamp("2025-01-01") ?? .distantPast
        for row in 0..<3000 {
            let customer = draw(300)
            let visits = draw(20) + customer % 5
            let tickets = draw(5)
            let spend = visits * (10 + customer % 17) + draw(40)
            let risk = 10 + tickets * 14 + (spend < 80 ? 25 : 0)
            let at = start + .seconds(Int64(row) * 10_000 + Int64(draw(9000)))
            lines.append("\(row),c\(customer),\(at),\(spend).\(draw(90) + 10),\(visits),\(tickets),\(draw(100) < risk ? 1 : 0)")
        }
        return lines.joined(separator: "\n") + "\n"
    }()
}
