import COnnxRuntime
import Contracts
import Glibc

/// A dense tensor, row-major.
public struct ONNXTensor: Sendable, Hashable {
    public enum Elements: Sendable, Hashable {
        case float32([Float])
        case float64([Double])
        case int32([Int32])
        case int64([Int64])
        case bool([Bool])

        public var count: Int {
            switch self {
            case .float32(let v): v.count
            case .float64(let v): v.count
            case .int32(let v): v.count
            case .int64(let v): v.count
            case .bool(let v): v.count
            }
        }

        public var type: DataType {
            switch self {
            case .float32: .float32
            case .float64: .float64
            case .int32: .int32
            case .int64: .int64
            case .bool: .bool
            }
        }
    }

    public let shape: [Int]
    public let elements: Elements

    /// - Throws: `invalidArgument` when the elements do not fill the shape.
    public init(shape: [Int], _ elements: Elements) throws(KeelError) {
        var size = 1
        for dimension in shape {
            let (product, overflow) = size.multipliedReportingOverflow(by: dimension)
            guard dimension >= 0, !overflow else { throw .invalid("\(shape) is not a shape") }
            size = product
        }
        guard size == elements.count else { throw .invalid("\(elements.count) elements do not fill the shape \(shape)") }
        guard shape.count <= Int(KEEL_ONNX_MAX_RANK) else { throw .invalid("a tensor of \(shape.count) dimensions is not supported") }
        (self.shape, self.elements) = (shape, elements)
    }
}

/// A model that ONNX Runtime executes on the calling thread. Several threads may run one model at the same time.
///
/// `@unchecked Sendable`: ONNX Runtime guards its sessions; all else is immutable.
public final class ONNXModel: @unchecked Sendable {
    /// A declared input or output.
    public struct Port: Sendable, Hashable {
        public let name: String
        /// Nil for what is no tensor of numbers or booleans (texts, sequences, maps, float16 …).
        public let type: DataType?
        /// −1 is a free dimension.
        public let shape: [Int]

        public init(name: String, type: DataType?, shape: [Int]) { (self.name, self.type, self.shape) = (name, type, shape) }
    }

    public let inputs: [Port]
    public let outputs: [Port]
    private let session: OpaquePointer

    /// Reads the file at `path`.
    public convenience init(path: String, threads: Int = 1) throws(KeelError) {
        guard let file = fopen(path, "rb") else {
            throw .notFound("cannot open the model '\(path)': \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let read = fread(&block, 1, block.count, file)
            if read == 0 { break }
            bytes += block[..<read]
        }
        guard ferror(file) == 0 else { throw KeelError(.internal, "cannot read the model '\(path)'") }
        try self.init(bytes: bytes, threads: threads)
    }

    /// - Parameter threads: for one call of `run`; 1 runs on the caller's thread alone.
    /// - Throws: `corrupted` for bytes that ONNX Runtime does not take as a model, with its message; `invalidArgument` for a model that refers to
    ///   other files, which would be read for whoever brings the model; `engineMissing`.
    public init(bytes: [UInt8], threads: Int = 1) throws(KeelError) {
        try ONNXModelCheck.requireSelfContained(bytes)
        let library = try ONNXRuntimeLibrary.shared.get()
        var created: OpaquePointer?
        let failure = bytes.withUnsafeBytes { keel_onnx_session_create(library.handle, $0.baseAddress, $0.count, Int32(threads), &created) }
        if let message = ONNXRuntimeLibrary.take(failure) { throw KeelError(.corrupted, "ONNX Runtime cannot load the model: \(message)") }
        guard let created else { throw KeelError(.internal, "ONNX Runtime gave no session") }
        session = created
        inputs = (0..<keel_onnx_input_count(created)).map {
            ONNXModel.port(keel_onnx_input_name(created, $0), keel_onnx_input_type(created, $0))
        }
        outputs = (0..<keel_onnx_output_count(created)).map {
            ONNXModel.port(keel_onnx_output_name(created, $0), keel_onnx_output_type(created, $0))
        }
    }

    deinit { keel_onnx_session_free(session) }

    /// Says what all models of the process together may take for tensors while they run; a model that needs more fails. It counts from the first
    /// model on that is loaded after it; the default is 1 GiB.
    public static func limitMemory(bytes: Int) { ONNXRuntimeLibrary.memoryBytesMax.store(bytes, ordering: .relaxed) }

    /// Runs the model once.
    ///
    /// - Parameters:
    ///   - tensors: one for each of `inputs`, in that order.
    ///   - wanted: the positions in `outputs` to compute; nil is all.
    ///   - deadline: when the call is ended, before the model's next node.
    /// - Returns: the wanted outputs, in that order.
    /// - Throws: `invalidArgument` for a missing input, a wrong type or shape, or a wanted output that is not a tensor of numbers;
    ///   `deadlineExceeded`.
    public func run(
        _ tensors: [ONNXTensor], wanted: [Int]? = nil, until deadline: ContinuousClock.Instant
    ) throws(KeelError) -> [ONNXTensor] {
        guard tensors.count == inputs.count else {
            throw .invalid(
                "the model takes \(inputs.count) inputs (\(inputs.map(\.name).joined(separator: ", "))), \(tensors.count) were given")
        }
        for (port, tensor) in zip(inputs, tensors) { try ONNXModel.check(tensor, for: port) }
        return try withTensors(tensors) { native throws(KeelError) in
            try self.run(native, wanted: wanted ?? Array(outputs.indices), until: deadline)
        }
    }

    /// Runs a model of one float32 input of shape `[rows, columns]` on row-major values, and gives one output's elements as float32.
    ///
    /// - Parameters:
    ///   - wanted: the position in `outputs`; nil is the last one that holds floats (a classifier's probabilities).
    ///   - deadline: when the call is ended, before the model's next node.
    /// - Throws: as `run`.
    public func predict(
        _ values: UnsafeBufferPointer<Float>, rowCount: Int, wanted: Int? = nil, until deadline: ContinuousClock.Instant
    ) throws(KeelError) -> [Float] {
        guard inputs.count == 1, inputs[0].type == .float32 else { throw .invalid("the model does not take one float32 tensor") }
        guard rowCount > 0, values.count % rowCount == 0 else {
            throw .invalid("\(values.count) values are no \(rowCount) rows of equal length")
        }
        guard let output = wanted ?? outputs.lastIndex(where: { $0.type == .float32 || $0.type == .float64 }),
            outputs.indices.contains(output)
        else {
            throw .invalid("the model has no output of floats")
        }
        var native = keel_onnx_tensor()
        native.type = Int32(KEEL_ONNX_FLOAT32)
        native.rank = 2
        native.shape.0 = Int64(rowCount)
        native.shape.1 = Int64(values.count / rowCount)
        native.count = values.count
        native.data = UnsafeMutableRawPointer(mutating: values.baseAddress)
        switch try run([native], wanted: [output], until: deadline).first?.elements {
        case .float32(let floats): return floats
        case .float64(let doubles): return doubles.map(Float.init)
        default: throw .invalid("output '\(outputs[output].name)' does not hold floats")
        }
    }

    private func run(
        _ native: [keel_onnx_tensor], wanted: [Int], until deadline: ContinuousClock.Instant
    ) throws(KeelError) -> [ONNXTensor] {
        for index in wanted where !outputs.indices.contains(index) { throw .invalid("the model has no output \(index)") }
        for index in wanted where outputs[index].type == nil {
            throw .invalid(
                "output '\(outputs[index].name)' is not a tensor of numbers", hint: "ask for the others, or export the model without ZipMap"
            )
        }
        var results: OpaquePointer?
        let call = try ONNXCall(try ONNXRuntimeLibrary.shared.get())
        let (failure, isTerminated) = ONNXDeadlines.shared.watch(call, until: deadline) {
            ONNXRuntimeLibrary.take(keel_onnx_run(session, call.handle, native, wanted, wanted.count, &results))
        }
        if let failure {
            guard !isTerminated else {
                throw KeelError(.deadlineExceeded, "the model did not answer before the deadline and was ended")
            }
            throw .invalid("the model cannot run: \(failure)")
        }
        defer { keel_onnx_outputs_free(results) }
        var out: [ONNXTensor] = []
        for (i, index) in wanted.enumerated() {
            var tensor = keel_onnx_tensor()
            if let message = ONNXRuntimeLibrary.take(keel_onnx_output(results, i, &tensor)) {
                throw .invalid("output '\(outputs[index].name)': \(message)")
            }
            out.append(try ONNXModel.tensor(tensor, name: outputs[index].name))
        }
        return out
    }

    /// Calls `body` with views of the tensors, which live during the call.
    private func withTensors<T>(_ tensors: [ONNXTensor], _ body: ([keel_onnx_tensor]) throws(KeelError) -> T) throws(KeelError) -> T {
        func add(_ i: Int, _ native: [keel_onnx_tensor]) -> Result<T, KeelError> {
            guard i < tensors.count else {
                do throws(KeelError) { return .success(try body(native)) } catch { return .failure(error) }
            }
            var view = keel_onnx_tensor()
            view.rank = tensors[i].shape.count
            view.count = tensors[i].elements.count
            ONNXModel.setShape(&view, tensors[i].shape)
            func next(_ type: Int, _ bytes: UnsafeRawBufferPointer) -> Result<T, KeelError> {
                view.type = Int32(type)
                view.data = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
                return add(i + 1, native + [view])
            }
            return switch tensors[i].elements {
            case .float32(let v): v.withUnsafeBytes { next(Int(KEEL_ONNX_FLOAT32), $0) }
            case .float64(let v): v.withUnsafeBytes { next(Int(KEEL_ONNX_FLOAT64), $0) }
            case .int32(let v): v.withUnsafeBytes { next(Int(KEEL_ONNX_INT32), $0) }
            case .int64(let v): v.withUnsafeBytes { next(Int(KEEL_ONNX_INT64), $0) }
            case .bool(let v): v.withUnsafeBytes { next(Int(KEEL_ONNX_BOOL), $0) }
            }
        }
        return try add(0, []).get()
    }

    private static func check(_ tensor: ONNXTensor, for port: Port) throws(KeelError) {
        guard let type = port.type else { throw .invalid("input '\(port.name)' is not a tensor of numbers, which alone are supported") }
        guard tensor.elements.type == type else { throw .invalid("input '\(port.name)' is \(type), \(tensor.elements.type) was given") }
        let fits = port.shape.count == tensor.shape.count && zip(port.shape, tensor.shape).allSatisfy { $0 == -1 || $0 == $1 }
        guard fits else { throw .invalid("input '\(port.name)' has the shape \(port.shape), \(tensor.shape) was given") }
    }

    private static func port(_ name: UnsafePointer<CChar>?, _ tensor: keel_onnx_tensor) -> Port {
        Port(name: name.map { String(cString: $0) } ?? "", type: dataType(tensor.type), shape: shape(tensor))
    }

    private static func dataType(_ number: Int32) -> DataType? {
        switch Int(number) {
        case Int(KEEL_ONNX_FLOAT32): .float32
        case Int(KEEL_ONNX_FLOAT64): .float64
        case Int(KEEL_ONNX_INT32): .int32
        case Int(KEEL_ONNX_INT64): .int64
        case Int(KEEL_ONNX_BOOL): .bool
        default: nil
        }
    }

    private static func tensor(_ native: keel_onnx_tensor, name: String) throws(KeelError) -> ONNXTensor {
        func copy<T>(_ type: T.Type) -> [T] {
            Array(UnsafeBufferPointer(start: native.data?.assumingMemoryBound(to: T.self), count: native.count))
        }
        let elements: ONNXTensor.Elements
        switch dataType(native.type) {
        case .float32: elements = .float32(copy(Float.self))
        case .float64: elements = .float64(copy(Double.self))
        case .int32: elements = .int32(copy(Int32.self))
        case .int64: elements = .int64(copy(Int64.self))
        case .bool: elements = .bool(copy(UInt8.self).map { $0 != 0 })
        default: throw .invalid("output '\(name)' is not a tensor of numbers")
        }
        return try ONNXTensor(shape: shape(native), elements)
    }

    private static func shape(_ tensor: keel_onnx_tensor) -> [Int] {
        withUnsafeBytes(of: tensor.shape) { $0.bindMemory(to: Int64.self).prefix(tensor.rank).map { Int($0) } }
    }

    private static func setShape(_ tensor: inout keel_onnx_tensor, _ shape: [Int]) {
        withUnsafeMutableBytes(of: &tensor.shape) { bytes in
            let dimensions = bytes.bindMemory(to: Int64.self)
            for (i, dimension) in shape.enumerated() { dimensions[i] = Int64(dimension) }
        }
    }
}
