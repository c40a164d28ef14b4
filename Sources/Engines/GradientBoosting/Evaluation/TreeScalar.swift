import Glibc

/// The arithmetic of a library: XGBoost compares and adds in float32, LightGBM in float64.
protocol TreeScalar: BinaryFloatingPoint, BitwiseCopyable, Sendable {
    /// The nearest value of another precision.
    func rounded<Other: TreeScalar>(to: Other.Type) -> Other
    static func exponential(_ value: Self) -> Self
    static func logarithm(_ value: Self) -> Self
    static func logarithmOfOnePlus(_ value: Self) -> Self
    /// What is added to a number from 0 to some millions to make its lowest bits those of the nearest whole number.
    static var roundingShift: Self { get }
    /// The lowest 16 bits of the encoding.
    var lowBits: UInt16 { get }
}

extension TreeScalar {
    /// 1 when this is at or above the threshold, otherwise 0: a number to calculate with. From `? 1 : 0` the compiler makes a branch, which the
    /// processor guesses wrongly as often as not.
    @inline(__always)
    func passes(_ threshold: Self) -> UInt8 { unsafeBitCast(self >= threshold, to: UInt8.self) }
}

extension Float: TreeScalar {
    @inline(__always) func rounded<Other: TreeScalar>(to: Other.Type) -> Other { Other(self) }
    static func exponential(_ value: Float) -> Float { expf(value) }
    static func logarithm(_ value: Float) -> Float { logf(value) }
    static func logarithmOfOnePlus(_ value: Float) -> Float { log1pf(value) }
    static var roundingShift: Float { 0x1p23 }
    @inline(__always) var lowBits: UInt16 { UInt16(truncatingIfNeeded: bitPattern) }
}

extension Double: TreeScalar {
    @inline(__always) func rounded<Other: TreeScalar>(to: Other.Type) -> Other { Other(self) }
    static func exponential(_ value: Double) -> Double { exp(value) }
    static func logarithm(_ value: Double) -> Double { log(value) }
    static func logarithmOfOnePlus(_ value: Double) -> Double { log1p(value) }
    static var roundingShift: Double { 0x1p52 }
    @inline(__always) var lowBits: UInt16 { UInt16(truncatingIfNeeded: bitPattern) }
}
