/// An array whose elements stay at one address, for loops that cannot afford to look it up.
///
/// `@unchecked Sendable`: written in `init`, only read afterwards.
final class FixedArray<Element: BitwiseCopyable & Sendable>: @unchecked Sendable {
    let base: UnsafePointer<Element>
    let count: Int

    init(_ elements: [Element]) {
        let buffer = UnsafeMutablePointer<Element>.allocate(capacity: max(1, elements.count))
        elements.withUnsafeBufferPointer { source in
            if let start = source.baseAddress { buffer.initialize(from: start, count: source.count) }
        }
        base = UnsafePointer(buffer)
        count = elements.count
    }

    deinit { base.deallocate() }

    var buffer: UnsafeBufferPointer<Element> { UnsafeBufferPointer(start: base, count: count) }

    subscript(part: ArrayPart) -> UnsafeBufferPointer<Element> {
        @inline(__always) get { UnsafeBufferPointer(start: base + part.start, count: part.count) }
    }
}

/// Elements of an array that belong together.
struct ArrayPart: BitwiseCopyable, Sendable {
    let start: Int
    let count: Int

    init(_ range: Range<Int>) {
        start = range.lowerBound
        count = range.count
    }
}
