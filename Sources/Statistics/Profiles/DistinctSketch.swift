import Contracts

#if canImport(Glibc)
    import Glibc
#endif

/// Counts distinct values in 4,096 bytes, mergeable without any loss: HyperLogLog (Flajolet, Fusy, Gandouet, Meunier 2007) with 4,096 registers and the
/// estimator of Ertl ("New cardinality estimation algorithms for HyperLogLog sketches", 2017), which needs no corrections for small or large counts.
///
/// The standard error is 1.04 / √4096 = 1.6 %.
public struct DistinctSketch: Sendable {
    public static let standardError = 0.01625
    private static let bits = 12
    private static let size = 1 << bits
    private var registers = [UInt8](repeating: 0, count: size)

    public init() {}

    /// Adds a value by its 64-bit hash.
    @inline(__always) mutating func add(hash: UInt64) {
        let index = Int(hash >> UInt64(64 - DistinctSketch.bits))
        let rest = hash << UInt64(DistinctSketch.bits) | 1 << UInt64(DistinctSketch.bits - 1)
        let rank = UInt8(truncatingIfNeeded: rest.leadingZeroBitCount + 1)
        if registers[index] < rank { registers[index] = rank }
    }

    public mutating func merge(_ other: DistinctSketch) {
        for i in registers.indices where other.registers[i] > registers[i] { registers[i] = other.registers[i] }
    }

    /// How many distinct values were added, about.
    public var estimate: Int {
        let (m, q) = (Double(DistinctSketch.size), 64 - DistinctSketch.bits)
        var histogram = [Int](repeating: 0, count: q + 2)
        for register in registers { histogram[min(Int(register), q + 1)] += 1 }
        if histogram[0] == DistinctSketch.size { return 0 }
        var z = m * DistinctSketch.tau(1 - Double(histogram[q + 1]) / m)
        for k in stride(from: q, through: 1, by: -1) { z = 0.5 * (z + Double(histogram[k])) }
        z += m * DistinctSketch.sigma(Double(histogram[0]) / m)
        return Int(saturating: (m * m / (2 * log(2.0)) / z).rounded())
    }

    private static func sigma(_ start: Double) -> Double {
        var (x, y, z) = (start, 1.0, start)
        while true {
            x *= x
            let before = z
            z += x * y
            y += y
            if z == before { return z }
        }
    }

    private static func tau(_ start: Double) -> Double {
        if start == 0 || start == 1 { return 0 }
        var (x, y, z) = (start, 1.0, 1 - start)
        while true {
            x = x.squareRoot()
            let before = z
            y *= 0.5
            z -= (1 - x) * (1 - x) * y
            if z == before { return z / 3 }
        }
    }

    // MARK: JSON

    /// Registers as Base64; while few are set, each as two bytes of index and one of value.
    var json: JSON {
        let used = registers.indices.filter { registers[$0] > 0 }
        guard used.count * 3 < DistinctSketch.size else { return ["dense": .string(Base64.encode(registers))] }
        return ["sparse": .string(Base64.encode(used.flatMap { [UInt8($0 >> 8), UInt8($0 & 255), registers[$0]] }))]
    }

    init(json: JSON) throws(KeelError) {
        if let bytes = json["dense"]?.string.flatMap({ Base64.decode($0) }), bytes.count == DistinctSketch.size {
            registers = bytes
            return
        }
        guard let bytes = json["sparse"]?.string.flatMap({ Base64.decode($0) }), bytes.count % 3 == 0 else {
            throw KeelError(.corrupted, "a distinct sketch is not readable")
        }
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let index = Int(bytes[start]) << 8 | Int(bytes[start + 1])
            guard index < DistinctSketch.size else { throw KeelError(.corrupted, "a distinct sketch is not readable") }
            registers[index] = bytes[start + 2]
        }
    }
}
