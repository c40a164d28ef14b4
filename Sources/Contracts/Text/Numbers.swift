import Glibc

extension FixedWidthInteger {
    /// The whole part of a number, or the nearest end of this type's range; 0 for NaN.
    ///
    /// `Int(x)` ends the process when `x` is not finite or too large. A number that comes from data goes through this instead.
    @inlinable public init(saturating value: some BinaryFloatingPoint) {
        if let whole = Self(exactly: value.rounded(.towardZero)) {
            self = whole
        } else if value.isNaN {
            self = 0
        } else {
            self = value < 0 ? .min : .max
        }
    }
}

extension Double {
    /// Digits behind the point, as many as asked for: `0.8731`. From 1e16 on, where a double has none, the shortest text that reads back as the
    /// same number (`1.7976931348623157e+308`); `NaN`, `inf` and `-inf` for what is no number.
    public func decimals(_ digits: Int) -> String {
        guard isFinite else { return isNaN ? "NaN" : self < 0 ? "-inf" : "inf" }
        guard abs(self) < 1e16 else { return description }
        var buffer = [CChar](repeating: 0, count: 64)
        let count = withVaList([Int32(min(max(digits, 0), 30)), self]) { vsnprintf(&buffer, buffer.count, "%.*f", $0) }
        let text = String(decoding: buffer[..<Int(count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // A small negative number that is rounded to zero has no sign.
        return text.hasPrefix("-") && text.allSatisfy({ "-0.".contains($0) }) ? String(text.dropFirst()) : text
    }
}
