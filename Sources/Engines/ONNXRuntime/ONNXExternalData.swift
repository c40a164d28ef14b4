import Contracts

/// Models that keep tensors in files beside them (`external_data`).
///
/// ONNX Runtime never opens such a file for Keel. The contents are written into the model's bytes first, and the result has to pass
/// `ONNXModelCheck` as any other model: what lies outside the files that the caller gave cannot be read, whatever the model names.
package struct ONNXExternalData {
    /// The part of a file that holds a tensor's data.
    private struct Source {
        let location: String
        let offset: Int
        /// Nil is up to the end of the file.
        let length: Int?
    }

    private let bytes: UnsafeRawBufferPointer
    private let files: [String: [UInt8]]
    /// Of every message that changes, by where it begins: its new size.
    private var sizes: [Int: Int] = [:]
    /// Of every tensor whose data lie in a file, by where the tensor begins.
    private var sources: [Int: Source] = [:]
    /// Protobuf's own limit for a message.
    private static let bytesMax = Int(Int32.max)

    private init(bytes: UnsafeRawBufferPointer, files: [String: [UInt8]]) {
        self.bytes = bytes
        self.files = files
    }

    /// The files that a model needs, as paths relative to the model's folder, sorted; empty for a model that is whole in itself.
    /// - Throws: `corrupted` for bytes that are no protobuf message, `invalidArgument` for a path that leads out of the folder.
    package static func locations(of model: [UInt8]) throws(KeelError) -> [String] {
        try model.withBytes { bytes throws(KeelError) in
            var data = ONNXExternalData(bytes: bytes, files: [:])
            _ = try data.measure(.model, 0..<bytes.count, depth: 0, isLookup: true)
            return Set(data.sources.values.map(\.location)).sorted()
        }
    }

    /// The model with the contents of the files in it.
    ///
    /// - Parameter files: their contents by their paths as the model writes them, relative to its folder.
    /// - Throws: as `locations`; `invalidArgument` for a file that is not in `files` or is too short, and for a model of 2 GiB or more.
    package static func inlined(_ model: [UInt8], files: [String: [UInt8]]) throws(KeelError) -> [UInt8] {
        try model.withBytes { bytes throws(KeelError) in
            var data = ONNXExternalData(bytes: bytes, files: files)
            let size = try data.measure(.model, 0..<bytes.count, depth: 0, isLookup: false)
            guard size < bytesMax else {
                throw .invalid("the model has \(size) bytes with its external data; less than \(bytesMax) are supported")
            }
            var out: [UInt8] = []
            out.reserveCapacity(size)
            try data.write(.model, 0..<bytes.count, to: &out)
            return out
        }
    }

    /// - Parameter isLookup: whether only the locations are wanted, and no file is there.
    /// - Returns: the size that the message will have.
    private mutating func measure(_ message: ONNXMessage, _ range: Range<Int>, depth: Int, isLookup: Bool) throws(KeelError) -> Int {
        try ONNXMessage.check(depth: depth)
        if message == .tensor { return try measureTensor(range, isLookup: isLookup) }
        var size = 0
        var isChanged = false
        var reader = ProtobufReader(bytes, range)
        while let field = try reader.next() {
            size += field.range.count
            guard case .bytes(let content) = field.value, let inner = message.inner(field.number) else { continue }
            let new = try measure(inner, content, depth: depth + 1, isLookup: isLookup)
            guard sizes[content.lowerBound] != nil else { continue }
            isChanged = true
            size += ONNXExternalData.fieldSize(field.number, new) - field.range.count
        }
        if isChanged { sizes[range.lowerBound] = size }
        return size
    }

    private mutating func measureTensor(_ range: Range<Int>, isLookup: Bool) throws(KeelError) -> Int {
        var entries: [String: String] = [:]
        var isExternal = false
        var isChanged = false
        var size = 0
        var reader = ProtobufReader(bytes, range)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (13, .bytes(let content)):
                let entry = try entry(content)
                guard entries.updateValue(entry.value, forKey: entry.key) == nil else {
                    throw ProtobufReader.damaged("external data name '\(entry.key)' twice")
                }
                isChanged = true
            case (14, .varint(let location)):
                isExternal = location != 0
                isChanged = true
            default: size += field.range.count
            }
        }
        if isExternal {
            let source = try ONNXExternalData.source(entries)
            sources[range.lowerBound] = source
            if !isLookup { size += ONNXExternalData.fieldSize(9, try slice(source).count) }
        }
        if isChanged { sizes[range.lowerBound] = size }
        return size
    }

    /// One key and value of `external_data`.
    private func entry(_ range: Range<Int>) throws(KeelError) -> (key: String, value: String) {
        var texts: [UInt64: String] = [:]
        var reader = ProtobufReader(bytes, range)
        while let field = try reader.next() {
            guard case .bytes(let content) = field.value else { continue }
            texts[field.number] = String(decoding: bytes[content], as: UTF8.self)
        }
        return (texts[1] ?? "", texts[2] ?? "")
    }

    private static func source(_ entries: [String: String]) throws(KeelError) -> Source {
        guard let location = entries["location"] else { throw ProtobufReader.damaged("external data have no location") }
        guard isInside(location) else {
            throw .invalid("the model keeps tensors in '\(location.prefix(200))', which is not a file of its own folder")
        }
        func number(_ key: String) throws(KeelError) -> Int? {
            guard let text = entries[key], !text.isEmpty else { return nil }
            guard let number = Int(text), number >= 0 else {
                throw ProtobufReader.damaged("the \(key) of external data is '\(text.prefix(40))'")
            }
            return number
        }
        return Source(location: location, offset: try number("offset") ?? 0, length: try number("length"))
    }

    /// Whether a path leads to a file below the folder that it is relative to.
    private static func isInside(_ path: String) -> Bool {
        guard !path.utf8.contains(0), path.utf8.count <= 4096 else { return false }
        return path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." }
    }

    private func slice(_ source: Source) throws(KeelError) -> ArraySlice<UInt8> {
        guard let file = files[source.location] else {
            throw .invalid(
                "the model keeps tensors in '\(source.location)', which was not given",
                hint: "give the files beside the model too, or save it in one file")
        }
        guard source.offset <= file.count, source.length ?? 0 <= file.count - source.offset else {
            throw .invalid(
                "'\(source.location)' has \(file.count) bytes; the model wants \(source.length ?? 0) of them from \(source.offset) on")
        }
        return file[source.offset..<(source.length.map { source.offset + $0 } ?? file.count)]
    }

    private func write(_ message: ONNXMessage, _ range: Range<Int>, to out: inout [UInt8]) throws(KeelError) {
        guard sizes[range.lowerBound] != nil else {
            out.append(contentsOf: bytes[range])
            return
        }
        var reader = ProtobufReader(bytes, range)
        while let field = try reader.next() {
            if message == .tensor, field.number == 13 || field.number == 14 { continue }
            guard case .bytes(let content) = field.value, let inner = message.inner(field.number), let size = sizes[content.lowerBound]
            else {
                out.append(contentsOf: bytes[field.range])
                continue
            }
            ONNXExternalData.writeTag(field.number, size, to: &out)
            try write(inner, content, to: &out)
        }
        guard let source = sources[range.lowerBound] else { return }
        let data = try slice(source)
        ONNXExternalData.writeTag(9, data.count, to: &out)
        out.append(contentsOf: data)
    }

    private static func writeTag(_ number: UInt64, _ size: Int, to out: inout [UInt8]) {
        for value in [number << 3 | 2, UInt64(size)] {
            var rest = value
            while rest >= 0x80 {
                out.append(UInt8(rest & 0x7f) | 0x80)
                rest >>= 7
            }
            out.append(UInt8(rest))
        }
    }

    /// What a field of `size` bytes takes with its tag and length.
    private static func fieldSize(_ number: UInt64, _ size: Int) -> Int {
        func varintSize(_ value: UInt64) -> Int { max(1, (70 - value.leadingZeroBitCount) / 7) }
        return varintSize(number << 3 | 2) + varintSize(UInt64(size)) + size
    }
}
