import Contracts
import InferenceAPI

/// One `InferInputTensor`. Its values stay where they are in the message until they are made a column.
struct InputTensor {
    let name: String
    private let type: Datatype
    private let shape: TensorShape
    /// The bytes of `InferTensorContents`.
    private let contents: UnsafeRawBufferPointer?

    /// - Throws: `invalidArgument` whose path begins with the field.
    init(_ message: UnsafeRawBufferPointer) throws(KeelError) {
        var name = ""
        var type: Datatype?
        var shape = TensorShape()
        var contents: UnsafeRawBufferPointer?
        try ProtobufReader.fields(of: message) { (field) throws(KeelError) in
            switch field.number {
            case 1: name = try located("name") { () throws(KeelError) in try field.text() }
            case 2: type = try Datatype(try field.bytes().bindMemory(to: UInt8.self))
            case 3: try located("shape") { () throws(KeelError) in try InputTensor.add(field, to: &shape) }
            case 4: try RequestParameters.refuse(["shared_memory_region"], in: try field.bytes())
            case 5:
                guard contents == nil else { throw .invalid("is there twice", path: "contents") }
                contents = try field.bytes()
            default: break
            }
        }
        guard !name.isEmpty else { throw .invalid("'name' is missing", path: "name") }
        guard let type else { throw .invalid("'datatype' is missing", path: "datatype") }
        try located("shape") { () throws(KeelError) in try shape.check() }
        self.name = name
        self.type = type
        self.shape = shape
        self.contents = contents
    }

    /// Adds one number of the list, or all of a packed one.
    private static func add(_ field: ProtobufReader.Field, to shape: inout TensorShape) throws(KeelError) {
        guard case .bytes(let packed) = field.value else { return try shape.add(try field.integer()) }
        try ProtobufReader.varints(in: packed) { (value) throws(KeelError) in try shape.add(Int64(bitPattern: value)) }
    }

    /// The values in `raw_input_contents` as the column of the rows.
    func column(raw: UnsafeRawBufferPointer) throws(KeelError) -> Column {
        guard contents == nil else { throw .invalid("both 'contents' and 'raw_input_contents' are there", path: "contents") }
        return shape.rows(of: try TensorColumn.binary(type, rows: shape.elements, raw))
    }

    /// The values in `contents` as the column of the rows.
    func column() throws(KeelError) -> Column {
        let read = try TensorContents(type, of: contents ?? UnsafeRawBufferPointer(start: nil, count: 0))
        guard read.column.count == shape.elements else {
            throw .invalid("the shape says \(shape.elements) values, there are \(read.column.count)", path: "shape")
        }
        return shape.rows(of: read.column)
    }
}
