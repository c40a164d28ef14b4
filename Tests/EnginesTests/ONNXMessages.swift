/// Just enough of protobuf's wire format to write an ONNX model.
struct Message {
    var bytes: [UInt8] = []

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
    mutating func integer(_ field: UInt64, _ value: UInt64) {
        varint(field << 3)
        varint(value)
    }
    mutating func data(_ field: UInt64, _ value: [UInt8]) {
        varint(field << 3 | 2)
        varint(UInt64(value.count))
        bytes += value
    }
    mutating func text(_ field: UInt64, _ value: String) { data(field, Array(value.utf8)) }
    mutating func message(_ field: UInt64, _ build: (inout Message) -> Void) {
        var inner = Message()
        build(&inner)
        data(field, inner.bytes)
    }
}

/// y = sigmoid(x · w + b), x of shape [rows, 3], and n = x cast to int64.
func tinyModel() -> [UInt8] {
    func node(_ graph: inout Message, _ operation: String, _ inputs: [String], _ output: String, castTo: UInt64? = nil) {
        graph.message(1) { node in
            for input in inputs { node.text(1, input) }
            node.text(2, output)
            node.text(4, operation)
            if let castTo {
                node.message(5) { attribute in
                    attribute.text(1, "to")
                    attribute.integer(3, castTo)
                    attribute.integer(20, 2)
                }
            }
        }
    }
    func floats(_ graph: inout Message, _ name: String, _ shape: [UInt64], _ values: [Float]) {
        graph.message(5) { tensor in
            for dimension in shape { tensor.integer(1, dimension) }
            tensor.integer(2, 1)
            tensor.text(8, name)
            tensor.data(9, values.withUnsafeBytes { Array($0) })
        }
    }
    func port(_ graph: inout Message, _ field: UInt64, _ name: String, _ elementType: UInt64, _ columns: UInt64) {
        graph.message(field) { port in
            port.text(1, name)
            port.message(2) { type in
                type.message(1) { tensor in
                    tensor.integer(1, elementType)
                    tensor.message(2) { shape in
                        shape.message(1) { $0.text(2, "rows") }
                        shape.message(1) { $0.integer(1, columns) }
                    }
                }
            }
        }
    }
    var model = Message()
    model.integer(1, 8)
    model.message(7) { graph in
        node(&graph, "MatMul", ["x", "w"], "product")
        node(&graph, "Add", ["product", "b"], "sum")
        node(&graph, "Sigmoid", ["sum"], "y")
        node(&graph, "Cast", ["x"], "n", castTo: 7)
        graph.text(2, "tiny")
        floats(&graph, "w", [3, 1], [1, -2, 0.5])
        floats(&graph, "b", [1], [0.25])
        port(&graph, 11, "x", 1, 3)
        port(&graph, 12, "y", 1, 1)
        port(&graph, 12, "n", 7, 3)
    }
    model.message(8) { $0.integer(2, 13) }
    return model.bytes
}
