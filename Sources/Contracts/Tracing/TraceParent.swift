/// The 128 bits by which all spans of a trace are known.
public struct TraceID: Sendable, Hashable, CustomStringConvertible {
    public let high: UInt64
    public let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// 32 hexadecimal digits.
    public var description: String { hexText(bytes) }

    /// 16 bytes, the highest first.
    public var bytes: [UInt8] { withUnsafeBytes(of: (high.bigEndian, low.bigEndian)) { Array($0) } }
}

/// The trace that a request belongs to, and the span in it that the request comes from, as `traceparent` says (W3C Trace Context).
public struct TraceParent: Sendable, Hashable {
    public let trace: TraceID
    public let span: UInt64
    /// Whether whoever began the trace records it.
    public let isSampled: Bool

    /// `00-` trace id `-` parent id `-` flags; a later version may have more behind them. Nil for what is malformed, as the standard asks.
    public init?(_ text: String) {
        var text = text
        let parsed = text.withUTF8 { bytes -> (TraceID, UInt64, UInt8)? in
            let dash = UInt8(ascii: "-")
            guard bytes.count >= 55, bytes[2] == dash, bytes[35] == dash, bytes[52] == dash,
                let version = TraceParent.hex(bytes[0..<2]), version != 0xff, bytes.count == 55 || (version > 0 && bytes[55] == dash),
                let high = TraceParent.hex(bytes[3..<19]), let low = TraceParent.hex(bytes[19..<35]), high | low != 0,
                let span = TraceParent.hex(bytes[36..<52]), span != 0, let flags = TraceParent.hex(bytes[53..<55])
            else { return nil }
            return (TraceID(high: high, low: low), span, UInt8(truncatingIfNeeded: flags))
        }
        guard let parsed else { return nil }
        trace = parsed.0
        span = parsed.1
        isSampled = parsed.2 & 1 == 1
    }

    /// Digits and small letters alone.
    private static func hex(_ digits: Slice<UnsafeBufferPointer<UInt8>>) -> UInt64? {
        var value: UInt64 = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt64(digit - 48)
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt64(digit - 87)
            default: return nil
            }
        }
        return value
    }
}
