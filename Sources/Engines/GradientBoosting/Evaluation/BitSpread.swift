/// Turns planes (a bit for each row) into a byte for each row.
final class BitSpread: Sendable {
    /// For bit b of the byte and each value of eight rows' bits: eight bytes, with that bit set in those of the rows whose bit is.
    private let table: FixedArray<UInt64>

    init() {
        var words: [UInt64] = []
        for bit in 0..<8 {
            for rows in 0..<256 {
                var bytes: UInt64 = 0
                for row in 0..<8 where rows >> row & 1 == 1 { bytes |= 1 << UInt64(8 * row + bit) }
                words.append(bytes)
            }
        }
        table = FixedArray(words)
    }

    /// - Parameter bits: the planes of the bits, the lowest first, eight at most.
    @inline(__always)
    func leaves(
        _ bits: UnsafeBufferPointer<UInt16>, _ planes: UnsafePointer<SIMD4<UInt64>>, _ count: Int,
        into leaves: UnsafeMutablePointer<UInt64>
    ) {
        let groups = (count &+ 7) >> 3
        leaves.initialize(repeating: 0, count: groups)
        var table = table.base
        for plane in bits {
            // Little-endian: byte g holds the rows from 8g.
            let bytes = UnsafeRawPointer(planes + Int(plane)).assumingMemoryBound(to: UInt8.self)
            for g in 0..<groups { leaves[g] |= table[Int(bytes[g])] }
            table += 256
        }
    }
}
