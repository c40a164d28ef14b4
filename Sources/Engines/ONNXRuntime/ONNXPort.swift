import COnnxRuntime
import Contracts

extension ONNXModel {
    /// A declared input or output of a model.
    public struct Port: Sendable, Hashable {
        public let name: String
        /// Keel's type of the elements; nil for what cannot be moved (sequences, optional values, complex numbers …).
        public let type: DataType?
        /// −1 is a free dimension. Empty for a single value, and for an output that declares no shape.
        public let shape: [Int]
        /// The classes of an output of `ZipMap`, which gives a probability for each of them: `[rows, classes]` in this order.
        public let labels: [String]?

        let element: ONNXElement?
        /// What it is, when it cannot be moved.
        let refusal: String?
        /// Where the entries of a map stand in `labels`.
        let positions: [Int]

        init(_ native: keel_onnx_port, labels: ONNXClassLabels?) {
            name = native.name.map { String(cString: $0) } ?? ""
            let declared = withUnsafeBytes(of: native.shape) { Array($0.bindMemory(to: Int64.self)) }
            var element = ONNXElement(rawValue: native.type)
            var refusal: String?
            var shape: [Int] = []
            switch Int(native.kind) {
            case Int(KEEL_ONNX_TENSOR):
                if native.rank > declared.count {
                    refusal = "a tensor of \(native.rank) dimensions"
                } else {
                    shape = declared.prefix(native.rank).map { Int($0) }
                }
                if element == nil { refusal = "a tensor of \(ONNXElement.name(native.type))" }
            case Int(KEEL_ONNX_MAPS):
                shape = [-1, labels?.texts.count ?? -1]
                if labels == nil || element != .float32 { refusal = "a sequence of maps" }
            default:
                refusal = Port.kind(native.kind)
            }
            if refusal != nil { element = nil }
            self.shape = shape
            self.element = element
            self.refusal = refusal
            let isMap = refusal == nil && Int(native.kind) == Int(KEEL_ONNX_MAPS)
            self.labels = isMap ? labels?.texts : nil
            positions = isMap ? labels?.positions ?? [] : []
            type = element?.type
        }

        private static func kind(_ kind: Int32) -> String {
            switch Int(kind) {
            case Int(KEEL_ONNX_SEQUENCE): "a sequence"
            case Int(KEEL_ONNX_MAP): "a map"
            case Int(KEEL_ONNX_OPTIONAL): "an optional value"
            case Int(KEEL_ONNX_SPARSE): "a sparse tensor"
            default: "of an unknown kind"
            }
        }

        /// The column that stands for it in a table: a tensor of the shape of one row, or a scalar when a row has one value. Nil for what cannot
        /// be moved.
        ///
        /// - Parameter isWhole: whether it is of one row as a whole, its first dimension too.
        func field(isWhole: Bool = false) -> Field? {
            guard let element else { return nil }
            let row = isWhole ? shape : Array(shape.dropFirst())
            let isScalar = row.isEmpty || (row == [1] && !isWhole)
            return Field(name, isScalar ? element.type : .tensor(element.type, shape: row), nullable: element.hasMissing)
        }

        /// Whether an output has a fixed first dimension that is not the number of rows of a run.
        /// - Parameter rows: nil is any number.
        func isWhole(rows: Int?) -> Bool {
            guard let first = shape.first, first != -1 else { return false }
            return first != rows ?? 1
        }
    }
}
