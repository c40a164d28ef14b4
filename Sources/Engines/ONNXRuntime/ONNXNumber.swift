import Contracts

/// A number or boolean of a tensor, and how values of columns become one.
///
/// Integers and booleans are converted exactly or not at all. A float goes into a narrower float as the nearest value there, as in every
/// library; one that is beyond its range does not fit.
protocol ONNXNumber: BitwiseCopyable {
    /// What a missing value becomes; nil for a type that has nothing for it.
    static var missing: Self? { get }
    /// Nil for a number that does not fit.
    static func from(_ value: Int64) -> Self?
    /// Nil for a number that does not fit. NaN of a type without one is not asked for.
    static func from(_ value: Double) -> Self?
}

extension ONNXNumber where Self: FixedWidthInteger {
    static var missing: Self? { nil }
    static func from(_ value: Int64) -> Self? { Self(exactly: value) }
    static func from(_ value: Double) -> Self? { Self(exactly: value) }
}

extension Int8: ONNXNumber {}
extension Int16: ONNXNumber {}
extension Int32: ONNXNumber {}
extension Int64: ONNXNumber {}
extension UInt8: ONNXNumber {}
extension UInt16: ONNXNumber {}
extension UInt32: ONNXNumber {}
extension UInt64: ONNXNumber {}

extension Float: ONNXNumber {
    static var missing: Float? { .nan }
    static func from(_ value: Int64) -> Float? { Float(exactly: value) }
    static func from(_ value: Double) -> Float? {
        let nearest = Float(value)
        return nearest.isInfinite && value.isFinite ? nil : nearest
    }
}

extension Double: ONNXNumber {
    static var missing: Double? { .nan }
    static func from(_ value: Int64) -> Double? { Double(exactly: value) }
    static func from(_ value: Double) -> Double? { value }
}

extension Float16: ONNXNumber {
    static var missing: Float16? { .nan }
    static func from(_ value: Int64) -> Float16? { Float16(exactly: value) }
    static func from(_ value: Double) -> Float16? {
        let nearest = Float16(value)
        return nearest.isInfinite && value.isFinite ? nil : nearest
    }
}

/// A boolean as tensors hold it: one byte, 0 or 1.
struct ONNXBool: ONNXNumber {
    let byte: UInt8

    static var missing: ONNXBool? { nil }
    static func from(_ value: Int64) -> ONNXBool? { value == 0 || value == 1 ? ONNXBool(byte: UInt8(value)) : nil }
    static func from(_ value: Double) -> ONNXBool? { value == 0 || value == 1 ? ONNXBool(byte: value == 1 ? 1 : 0) : nil }
}

/// The upper half of a float32.
struct BFloat16: ONNXNumber {
    let bits: UInt16

    var float: Float { Float(bitPattern: UInt32(bits) << 16) }

    static var missing: BFloat16? { BFloat16(bits: 0x7fc0) }
    static func from(_ value: Int64) -> BFloat16? {
        guard let float = Float(exactly: value), float.bitPattern & 0xffff == 0 else { return nil }
        return BFloat16(bits: UInt16(float.bitPattern >> 16))
    }
    static func from(_ value: Double) -> BFloat16? {
        guard let float = Float.from(value) else { return nil }
        guard !float.isNaN else { return missing }
        var bits = float.bitPattern
        // What looks like halfway after the first rounding may have been rounded to it.
        if bits & 0xffff == 0x8000, value != Double(float) { bits = abs(value) > Double(abs(float)) ? bits + 1 : bits - 1 }
        // To the nearest; of two that are equally near, the one whose last bit is 0.
        let rounded = bits + 0x7fff + (bits >> 16 & 1)
        let nearest = BFloat16(bits: UInt16(truncatingIfNeeded: rounded >> 16))
        return nearest.float.isInfinite && value.isFinite ? nil : nearest
    }
}
