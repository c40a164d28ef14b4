import Contracts

/// The keys of a dataset's rows, as 128-bit hashes with a seed of this process, in about 32 bytes a key.
///
/// Exact up to the chance of two keys having one hash (2⁻⁶⁴ for billions of keys). It holds the newest `keysMax` to `keysMax / 2` keys: beyond
/// that the older half is forgotten, and a duplicate of such an old key is not found.
struct KeySet {
    static let keysMax = 16_000_000

    private struct Slots {
        var table: [SIMD2<UInt64>] = Array(repeating: .zero, count: 1024)
        var count = 0

        func contains(_ key: SIMD2<UInt64>) -> Bool {
            var i = Int(truncatingIfNeeded: key.x) & (table.count - 1)
            while table[i] != .zero {
                if table[i] == key { return true }
                i = (i + 1) & (table.count - 1)
            }
            return false
        }

        mutating func insert(_ key: SIMD2<UInt64>) -> Bool {
            if count * 2 >= table.count { grow() }
            var i = Int(truncatingIfNeeded: key.x) & (table.count - 1)
            while table[i] != .zero {
                if table[i] == key { return false }
                i = (i + 1) & (table.count - 1)
            }
            table[i] = key
            count += 1
            return true
        }

        private mutating func grow() {
            let old = table
            table = Array(repeating: .zero, count: old.count * 2)
            for key in old where key != .zero {
                var i = Int(truncatingIfNeeded: key.x) & (table.count - 1)
                while table[i] != .zero { i = (i + 1) & (table.count - 1) }
                table[i] = key
            }
        }
    }

    private var newer = Slots()
    private var older: Slots?
    private let half: Int

    init(keysMax: Int = KeySet.keysMax) { half = keysMax / 2 }

    var count: Int { newer.count + (older?.count ?? 0) }

    func contains(_ key: SIMD2<UInt64>) -> Bool { newer.contains(key) || older?.contains(key) == true }

    /// Adds a key; false when it is there already.
    mutating func insert(_ key: SIMD2<UInt64>) -> Bool {
        if let older, older.contains(key) { return false }
        if newer.count >= half {
            older = newer
            newer = Slots()
            if older?.contains(key) == true { return false }
        }
        return newer.insert(key)
    }

    private static let seed = SIMD2<UInt64>(.random(in: 1 ... .max), .random(in: 1 ... .max))

    /// The hash of each row's key.
    static func hashes(_ table: Table, _ key: [String]) throws(KeelError) -> [SIMD2<UInt64>] {
        var out = [SIMD2<UInt64>](repeating: seed, count: table.rowCount)
        for name in key {
            switch try table.column(name).buffer {
            case .bool(let values): for i in out.indices { mix(&out[i], values[i] ? 1 : 0) }
            case .int32(let values): for i in out.indices { mix(&out[i], UInt64(bitPattern: Int64(values[i]))) }
            case .int64(let values): for i in out.indices { mix(&out[i], UInt64(bitPattern: values[i])) }
            // Adding zero makes −0 and 0 one key.
            case .float32(let values): for i in out.indices { mix(&out[i], (Double(values[i]) + 0).bitPattern) }
            case .float64(let values): for i in out.indices { mix(&out[i], (values[i] + 0).bitPattern) }
            case .text(let texts):
                texts.bytes.withUnsafeBytes { bytes in
                    for i in out.indices { mix(&out[i], UnsafeRawBufferPointer(rebasing: bytes[texts.offsets[i]..<texts.offsets[i + 1]])) }
                }
            case .list: throw .invalid("a list cannot be part of a key")
            }
        }
        // Zero marks an empty slot.
        for i in out.indices where out[i] == .zero { out[i] = SIMD2(1, 1) }
        return out
    }

    private static func mix(_ state: inout SIMD2<UInt64>, _ bytes: UnsafeRawBufferPointer) {
        mix(&state, UInt64(bytes.count))
        var i = 0
        while i + 8 <= bytes.count {
            mix(&state, bytes.loadUnaligned(fromByteOffset: i, as: UInt64.self))
            i += 8
        }
        guard i < bytes.count else { return }
        var last: UInt64 = 0
        while i < bytes.count {
            last = last << 8 | UInt64(bytes[i])
            i += 1
        }
        mix(&state, last)
    }

    /// Two lanes of the 64 × 64 → 128 bit product, as wyhash mixes.
    @inline(__always) private static func mix(_ state: inout SIMD2<UInt64>, _ value: UInt64) {
        let a = (state.x ^ value).multipliedFullWidth(by: 0xa076_1d64_78bd_642f ^ state.y)
        let b = (state.y &+ value).multipliedFullWidth(by: 0xe703_7ed1_a0b4_28db)
        state = SIMD2(a.high ^ a.low &+ value, b.high ^ b.low &+ a.low)
    }
}
