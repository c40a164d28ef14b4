import Contracts

/// The classes of a classifier that ends in `ZipMap`, as skl2onnx writes it: its output is a sequence with one map (class → probability) for each
/// row, and the node's attributes name the classes.
package struct ONNXClassLabels: Sendable, Hashable {
    /// In the order of the probabilities that `ZipMap` takes: the order of the same model without it.
    let texts: [String]
    /// Where in `texts` the entries of a map stand, which ONNX Runtime gives with their keys ascending.
    let positions: [Int]

    /// Nil when a class is there twice: a map holds it once.
    private init?(texts: [String], positions: [Int]) {
        guard Set(texts).count == texts.count else { return nil }
        self.texts = texts
        self.positions = positions
    }

    init?(_ classes: [Int64]) {
        self.init(texts: classes.map(String.init), positions: classes.indices.sorted { classes[$0] < classes[$1] })
    }

    /// Texts are ordered by their bytes.
    init?(_ classes: [String]) {
        self.init(
            texts: classes, positions: classes.indices.sorted { classes[$0].utf8.lexicographicallyPrecedes(classes[$1].utf8) })
    }

    /// Reads the labels of every `ZipMap` of a model's graph, by the name of its output.
    /// - Throws: `corrupted` for bytes that are no protobuf message.
    package static func byOutput(of model: [UInt8]) throws(KeelError) -> [String: ONNXClassLabels] {
        try model.withBytes { bytes throws(KeelError) in
            var out: [String: ONNXClassLabels] = [:]
            var modelFields = ProtobufReader(bytes, 0..<bytes.count)
            while let field = try modelFields.next() {
                guard field.number == 7, case .bytes(let graph) = field.value else { continue }
                var graphFields = ProtobufReader(bytes, graph)
                while let field = try graphFields.next() {
                    guard field.number == 1, case .bytes(let node) = field.value else { continue }
                    guard let (output, labels) = try zipMap(bytes, node) else { continue }
                    out[output] = labels
                }
            }
            return out
        }
    }

    /// The output and the labels of a node; nil for one that is no `ZipMap`.
    private static func zipMap(
        _ bytes: UnsafeRawBufferPointer, _ node: Range<Int>
    ) throws(KeelError) -> (String, ONNXClassLabels)? {
        func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
        var output: String?
        var (operation, domain) = ("", "")
        var attributes: [Range<Int>] = []
        var reader = ProtobufReader(bytes, node)
        while let field = try reader.next() {
            guard case .bytes(let content) = field.value else { continue }
            switch field.number {
            case 2: output = text(content)
            case 4: operation = text(content)
            case 5: attributes.append(content)
            case 7: domain = text(content)
            default: break
            }
        }
        guard operation == "ZipMap", domain == "ai.onnx.ml", let output else { return nil }
        for attribute in attributes {
            if let labels = try labels(bytes, attribute) { return (output, labels) }
        }
        return nil
    }

    /// The labels in an attribute; nil for another attribute, or one without any.
    private static func labels(_ bytes: UnsafeRawBufferPointer, _ attribute: Range<Int>) throws(KeelError) -> ONNXClassLabels? {
        var name = ""
        var integers: [Int64] = []
        var texts: [String] = []
        var reader = ProtobufReader(bytes, attribute)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let content)): name = String(decoding: bytes[content], as: UTF8.self)
            case (8, .varint(let value)): integers.append(Int64(bitPattern: value))
            case (8, .bytes(let packed)):
                var numbers = ProtobufReader(bytes, packed)
                while let value = try numbers.nextVarint() { integers.append(Int64(bitPattern: value)) }
            case (9, .bytes(let content)): texts.append(String(decoding: bytes[content], as: UTF8.self))
            default: break
            }
        }
        switch name {
        case "classlabels_int64s" where !integers.isEmpty: return ONNXClassLabels(integers)
        case "classlabels_strings" where !texts.isEmpty: return ONNXClassLabels(texts)
        default: return nil
        }
    }
}
