import Contracts
import Statistics
import TestSupport
import Testing

private func table(_ rows: Int, _ random: inout Seeded) throws -> Table {
    var (delays, codes, carriers, flags, times) = ([Double](), [Int64](), TextBuffer(), [Bool](), [Int64]())
    var bits = Bitmap()
    let names = ["UA", "AA", "B6", "DL", "HA"]
    for _ in 0..<rows {
        let u = Double.random(in: 0..<1, using: &random)
        delays.append(u * u * 200 - 20)
        codes.append(.random(in: 0..<5000, using: &random))
        carriers.append(names[Int(u * u * 5)])
        flags.append(u < 0.25)
        times.append(1_356_998_400_000_000 + .random(in: 0..<86_400_000_000, using: &random))
        bits.append(Double.random(in: 0..<1, using: &random) > 0.1)
    }
    return try Table([
        ("delay", Column(.float64, .float64(delays), validity: bits)), ("code", Column(.int64, .int64(codes))),
        ("carrier", Column(.string, .text(carriers))),
        ("late", Column(.bool, .bool(flags))), ("at", Column(.timestamp, .int64(times))),
    ])
}

@Suite("Profiles of tables")
struct ProfileTests {
    @Test("counts, bounds, mean and variance are exact, and NaN is a null")
    func moments() throws {
        let profile = Profile(
            of: try Table([
                ("x", Column(.float64, values: [1, nil, 3, .double(.nan), 8])), ("s", Column(.string, values: ["a", "b", nil, "a", "a"])),
                ("n", Column(.int32, values: [nil, nil, nil, nil, nil])),
            ]))
        let x = try #require(profile["x"])
        #expect((x.count, x.nulls, x.values) == (5, 2, 3))
        #expect((x.minimum, x.maximum, x.mean, x.variance) == (1, 8, 4, 13))
        #expect((x.quantile(0), x.quantile(0.5), x.quantile(1)) == (1, 3, 8))
        let s = try #require(profile["s"])
        #expect(s.top.values.map(\.value) == ["a", "b"] && s.top.values.map(\.count) == [3, 1])
        #expect((s.nulls, s.distinct.estimate, s.minimum, s.quantile(0.5)) == (1, 2, nil, nil))
        let n = try #require(profile["n"])
        #expect((n.nulls, n.variance, n.quantile(0.5), n.distinct.estimate) == (5, nil, nil, 0))
    }

    @Test("quantiles keep their bound, merged or not", arguments: [1, 2, 3])
    func quantiles(seed: UInt64) throws {
        var random = Seeded(seed)
        let shapes: [(inout Seeded) -> Double] = [
            { Double.random(in: 0..<1, using: &$0) }, { Double(Int.random(in: 0..<7, using: &$0)) },
            { random in
                let u = Double.random(in: 0..<1, using: &random)
                return 1 / (u + 1e-9)
            },
        ]
        for (i, shape) in shapes.enumerated() {
            var (whole, parts, values) = (QuantileSketch(), QuantileSketch(), [Double]())
            for part in 0..<20 {
                var one = QuantileSketch()
                for _ in 0..<(part * 171 + 3) {
                    let value = i == 0 && part % 2 == 0 ? Double(values.count) : shape(&random)
                    values.append(value)
                    whole.add(value)
                    one.add(value)
                }
                parts.merge(one)
            }
            values.sort()
            for sketch in [whole, parts] {
                #expect(sketch.count == values.count)
                let bounds = stride(from: 0, to: values.count, by: 97).map { values[$0] }.reduce(into: [Double]()) {
                    if $0.last != $1 { $0.append($1) }
                }
                for (bound, rank) in zip(bounds, sketch.ranks(of: bounds)) {
                    let exact = Double(values.partitioningIndex { $0 > bound }) / Double(values.count)
                    // Twice the 99 % bound: three seeds and forty thousand ranks must all hold.
                    #expect(abs(rank - exact) <= 2 * QuantileSketch.rankError, "rank of \(bound): \(rank), exactly \(exact)")
                }
            }
        }
    }

    @Test("distinct counts keep their error", arguments: [0, 1, 10, 100, 1000, 10_000, 100_000])
    func distinct(n: Int) throws {
        let numbers = (0..<n).map { Double($0) * 0.37 }
        var profile = Profile([Field("x", .float64), Field("s", .string)])
        for _ in 0..<2 {
            var texts = TextBuffer()
            for i in 0..<n { texts.append("value \(i)") }
            try profile.add(Table([("x", Column(.float64, .float64(numbers))), ("s", Column(.string, .text(texts)))]))
        }
        for column in profile.columns {
            #expect(
                abs(Double(column.distinct.estimate - n)) <= max(0.5, 4 * DistinctSketch.standardError * Double(n)),
                "\(column.name): \(column.distinct.estimate)")
        }
    }

    @Test("frequent values are found among many, with their error stated")
    func top() throws {
        var random = Seeded(5)
        var values: [Double] = []
        for i in 0..<60_000 { values.append(i % 10 == 0 ? 7 : i % 20 == 1 ? 8 : Double.random(in: 100..<200, using: &random)) }
        let top = try #require(Profile(of: Table([("x", Column(.float64, .float64(values)))]))["x"]).top
        #expect(top.error <= 60_000 / 129)
        #expect(top.values.prefix(2).map(\.value) == [7.0, 8.0])
        for (entry, exact) in zip(top.values, [6000, 3000]) { #expect(entry.count <= exact && entry.count >= exact - top.error) }
    }

    @Test("a merged profile is that of all rows, in any order", arguments: [1, 2])
    func merging(seed: UInt64) throws {
        var random = Seeded(seed)
        let (a, b, c) = (try table(3000, &random), try table(11, &random), try table(5000, &random))
        var whole = Profile(of: a)
        try whole.add(b)
        try whole.add(c)
        let left = try Profile(of: a).merged(with: Profile(of: b)).merged(with: Profile(of: c))
        let right = try Profile(of: c).merged(with: Profile(of: b).merged(with: Profile(of: a)))
        for merged in [left, right] {
            #expect(merged.rowCount == 8011)
            for (x, y) in zip(merged.columns, whole.columns) {
                #expect((x.count, x.nulls, x.minimum, x.maximum) == (y.count, y.nulls, y.minimum, y.maximum))
                let (a, b) = (x.mean ?? 0, y.mean ?? 0)
                #expect(abs(a - b) <= 1e-9 * max(1, abs(b)))
                #expect(abs((x.variance ?? 0) - (y.variance ?? 0)) <= 1e-9 * max(1, y.variance ?? 0))
                #expect(x.distinct.estimate == y.distinct.estimate)
                if let median = x.quantile(0.5) {
                    #expect(abs(y.quantiles.ranks(of: [median])[0] - 0.5) <= 4 * QuantileSketch.rankError || x.name == "late")
                }
            }
            #expect(merged["carrier"]?.top.values.map(\.count) == whole["carrier"]?.top.values.map(\.count))
        }
        #expect(throws: KeelError.self) { try whole.merged(with: Profile([Field("x", .bool)])) }
        #expect(throws: KeelError.self) { try whole.add(Table([("delay", Column(.float64))])) }
    }

    @Test("S1: statistics of any finite numbers are finite or absent, and always readable", arguments: 1...6)
    func extremes(seed: UInt64) throws {
        let pool: [Double] = [
            5, -1.797e308, 1.797e308, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 1.2e154, -1.2e154, .leastNonzeroMagnitude,
            -.leastNormalMagnitude, 0, -0.0, 1e-300, .nan, .infinity, -.infinity,
        ]
        var random = Seeded(seed)
        var merged = Profile([Field("x", .float64)])
        for round in 0..<40 {
            let values = (0...round % 7).map { _ in pool[Int.random(in: 0..<pool.count, using: &random)] }
            merged = try merged.merged(with: Profile(of: Table([("x", Column(.float64, .float64(values)))])))
            try merged.add(Table([("x", Column(.float64, .float64(values.reversed())))]))
            let read = try Profile(json: JSON.parse(merged.json.text))
            #expect(read == merged)
            let column = try #require(read["x"])
            for statistic in [column.mean, column.variance, column.minimum, column.maximum, column.quantile(0.5)] {
                #expect(statistic?.isFinite ?? true)
            }
            if let mean = column.mean, let low = column.minimum, let high = column.maximum { #expect(low <= mean && mean <= high) }
            let bins = try ReferenceBins(json: JSON.parse(ReferenceBins(column).json.text))
            #expect(bins == ReferenceBins(column))
            let exact = ReferenceBins(numbers: values)
            #expect(try ReferenceBins(json: JSON.parse(exact.json.text)) == exact)
        }
    }

    @Test("S1: two values far apart have a mean, and no variance")
    func farApart() throws {
        let x = try #require(Profile(of: Table([("x", Column(.float64, .float64([1.7e308, -1.7e308])))]))["x"])
        #expect((x.mean, x.variance) == (0, nil))
        let y = try #require(Profile(of: Table([("x", Column(.float64, .float64([1.7e308, 1.7e308, 1.7e308])))]))["x"])
        #expect(abs((y.mean ?? 0) / 1.7e308 - 1) < 1e-15)
    }

    @Test("S1: a profile that an older version wrote with nulls is read with the rest absent")
    func damaged() throws {
        var json = Profile(of: try Table([("x", Column(.float64, .float64([5, 7])))])).json
        var column = try #require(json["columns"]?[0])
        column["mean"] = .null
        column["squares"] = .null
        json["columns"] = .array([column])
        let read = try Profile(json: JSON.parse(json.text))
        let x = try #require(read["x"])
        #expect((x.minimum, x.maximum, x.mean, x.variance) == (5, 7, nil, nil))
        let more = try read.merged(with: Profile(of: Table([("x", Column(.float64, .float64([9])))])))
        #expect((more["x"]?.maximum, more["x"]?.mean) == (9, nil))
        #expect(try Profile(json: JSON.parse(more.json.text)) == more)
    }

    @Test("equal rows give equal bytes, and the bytes give the profile back")
    func encoding() throws {
        var (first, second) = (Seeded(9), Seeded(9))
        let profile = Profile(of: try table(20_000, &first))
        #expect(try Profile(of: table(20_000, &second)).json.bytes == profile.json.bytes)
        var read = try Profile(json: JSON.parse(profile.json.bytes))
        #expect(read == profile)
        #expect(profile.json.bytes.count < 30_000 * profile.columns.count)
        try read.add(table(50, &first))
        #expect(read.rowCount == 20_050)
        var damaged = profile.json
        damaged["columns"] = .array(
            (profile.json["columns"]?.array ?? []).map { column in
                var column = column
                column["distinctSketch"] = ["dense": "####"]
                return column
            })
        #expect(throws: KeelError.self) { try Profile(json: damaged) }
    }
}

extension [Double] {
    /// The first index whose element satisfies a condition that is false, then true.
    fileprivate func partitioningIndex(_ belongs: (Double) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if belongs(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
