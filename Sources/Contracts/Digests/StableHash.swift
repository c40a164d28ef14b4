/// 64-bit hashes that are the same in every process (Swift's `Hasher` is seeded), for what is stored and merged. Not secret: anyone can compute them.
public enum StableHash {
    /// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit.
    @inlinable @inline(__always) public static func mix(_ x: UInt64) -> UInt64 {
        var z = x &+ 0x9e37_79b9_7f4a_7c15
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Of bytes, eight at a time.
    @inlinable @inline(__always) public static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var hash = UInt64(bytes.count) &* 0xa076_1d64_78bd_642f
        var i = 0
        while i + 8 <= bytes.count {
            hash = mix(hash ^ UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: i, as: UInt64.self)))
            i += 8
        }
        var tail: UInt64 = 0
        while i < bytes.count {
            tail = tail << 8 | UInt64(bytes[i])
            i += 1
        }
        return mix(hash ^ tail)
    }

    /// Of a number; −0 counts as 0.
    @inlinable @inline(__always) public static func of(_ x: Double) -> UInt64 { mix((x == 0 ? 0 : x).bitPattern) }
}
