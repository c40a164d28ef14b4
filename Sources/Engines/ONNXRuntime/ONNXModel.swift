import COnnxRuntime
import Contracts
import Glibc

/// A model that ONNX Runtime executes on the calling thread. Several threads may run one model at the same time.
///
/// `@unchecked Sendable`: ONNX Runtime guards its sessions; all else is immutable.
public final class ONNXModel: @unchecked Sendable {
    public let inputs: [Port]
    public let outputs: [Port]
    /// The columns that stand for the inputs in a table, made from the graph: the signature of a model that has no other. −1 in a tensor's shape
    /// is a dimension that the graph leaves open. Floats may be missing. Inputs that cannot be moved are not here.
    public let inputFields: [Field]
    /// The columns of the outputs, in the same way. An output that declares no shape is given as a scalar here.
    public let outputFields: [Field]

    private let session: OpaquePointer
    /// The positions of the outputs that can be moved.
    private let readable: [Int]
    /// The input that may take several columns; nil for none.
    private let spreadable: Int?
    /// How many rows one run takes; nil is any number.
    private let pieceRows: Int?
    /// What is wrong with the first dimensions of the inputs.
    private let pieceFailure: KeelError?

    /// Reads the file at `path`, and the files of its folder in which it keeps tensors. Links are not followed there.
    /// - Throws: as the others; `notFound`.
    public convenience init(path: String, threads: Int = 1) throws(KeelError) {
        let bytes = try ONNXModelFolder.read(path)
        var files: [String: [UInt8]] = [:]
        for location in try ONNXModel.externalFiles(of: bytes) {
            files[location] = try ONNXModelFolder.read(location, below: Folder.parent(of: path))
        }
        try self.init(bytes: bytes, files: files, threads: threads)
    }

    /// - Parameters:
    ///   - files: what the model keeps in other files (`externalFiles`): their contents by their paths, as the model writes them.
    ///   - threads: for one call of `run`; 1 runs on the caller's thread alone.
    /// - Throws: `corrupted` for bytes that ONNX Runtime does not take as a model, with its message; `invalidArgument` for a model that refers to
    ///   files that are not in `files`, which would be read for whoever brings the model; `engineMissing`.
    public init(bytes: [UInt8], files: [String: [UInt8]] = [:], threads: Int = 1) throws(KeelError) {
        let model = files.isEmpty ? bytes : try ONNXExternalData.inlined(bytes, files: files)
        try ONNXModelCheck.requireSelfContained(model)
        let labels = try ONNXClassLabels.byOutput(of: model)
        let library = try ONNXRuntimeLibrary.shared.get()
        var created: OpaquePointer?
        let loading = model.withUnsafeBytes { keel_onnx_session_create(library.handle, $0.baseAddress, $0.count, Int32(threads), &created) }
        if let message = ONNXRuntimeLibrary.take(loading) { throw KeelError(.corrupted, "ONNX Runtime cannot load the model: \(message)") }
        guard let created else { throw KeelError(.internal, "ONNX Runtime gave no session") }
        session = created
        inputs = (0..<keel_onnx_input_count(created)).map { Port(keel_onnx_input(created, $0), labels: nil) }
        outputs = (0..<keel_onnx_output_count(created)).map {
            let native = keel_onnx_output(created, $0)
            return Port(native, labels: native.name.flatMap { labels[String(cString: $0)] })
        }
        inputFields = inputs.compactMap { $0.field() }
        readable = outputs.enumerated().filter { $0.element.element != nil }.map(\.offset)
        spreadable = ONNXModel.spreadable(inputs)
        let (rows, failure) = ONNXModel.pieceRows(inputs)
        pieceRows = rows
        pieceFailure = failure
        outputFields = outputs.compactMap { $0.field(isWhole: $0.isWhole(rows: rows)) }
    }

    deinit { keel_onnx_session_free(session) }

    /// The files beside a model in which it keeps tensors, as paths relative to its folder; empty for a model that is whole in itself.
    /// - Throws: `corrupted` for bytes that are no protobuf message; `invalidArgument` for a path that leads out of the folder.
    public static func externalFiles(of bytes: [UInt8]) throws(KeelError) -> [String] { try ONNXExternalData.locations(of: bytes) }

    /// Says what all models of the process together may take for tensors while they run; a model that needs more fails. It counts from the first
    /// model on that is loaded after it; the default is 1 GiB.
    public static func limitMemory(bytes: Int) { ONNXRuntimeLibrary.memoryBytesMax.store(bytes, ordering: .relaxed) }

    /// Runs the model on a table. One row of the table is one index of the first dimension of every input and output.
    ///
    /// An input takes the column of its name. Columns that no input takes are ignored.
    ///
    /// | shape of the input | what it takes |
    /// |---|---|
    /// | none, `[N]`, `[N, 1]` | a scalar column |
    /// | `[N, k]` | a tensor or list column with k elements a row |
    /// | `[N, a, b …]` | a tensor column of the shape `[a, b …]` |
    ///
    /// An input of the shape `[N, k]` may take k scalar columns instead, in their order: all those that no other input takes. It must be the only
    /// input of such a shape, or the only input at all.
    ///
    /// Dimensions that the graph leaves open take any number. Integers and booleans are converted exactly, and floats to the nearest value of a
    /// narrower type; a value that does not fit is an error. A missing value becomes NaN in an input of floats and is an error in any other; a
    /// missing tensor or list is always an error. String inputs take `string` and `bytes`.
    ///
    /// When an input has a fixed first dimension, or is a single value, the table is run in pieces of that many rows. The last piece is filled up
    /// with copies of the last row, whose results are dropped.
    ///
    /// The columns of the result are the wanted outputs:
    ///
    /// | output | column |
    /// |---|---|
    /// | `[N]`, `[N, 1]` | scalar |
    /// | `[N, k …]` | tensor of the shape `[k …]`; a dimension that the graph leaves open is kept even when it is 1 |
    /// | the sequence of maps that `ZipMap` gives | tensor of float32 with one element for each of `Port.labels` |
    /// | any other, or `[n …]` with a fixed n where the rows of the inputs are free, when one row was run | scalar or tensor: the whole output |
    /// | any other | an error |
    ///
    /// int8, int16, uint8 and uint16 become int32; uint32 becomes int64; uint64 becomes int64, or an error where it is larger; float16 and bfloat16
    /// become float32. NaN is passed on. Strings that are not all UTF-8 become a column of `bytes`.
    ///
    /// - Parameters:
    ///   - wanted: the names of the outputs to compute, in that order; nil is all that a table can hold.
    ///   - deadline: when the call is ended, before the model's next node.
    /// - Returns: one row for each row of the table. A table without rows is answered without running the model.
    /// - Throws: `invalidArgument` that names the input or output, and the row (`column[row]` in `path`); `deadlineExceeded`.
    public func run(_ table: Table, wanted: [String]? = nil, until deadline: ContinuousClock.Instant) throws(KeelError) -> Table {
        let wanted = try positions(wanted)
        guard !wanted.isEmpty else { throw .invalid("the model gives nothing that a table holds, or nothing was asked for") }
        if let pieceFailure { throw pieceFailure }
        let fillings = try ONNXFilling.find(inputs, in: table, spreadable: spreadable)
        var builders: [ONNXColumnBuilder] = []
        builders.reserveCapacity(wanted.count)
        for index in wanted { builders.append(try ONNXColumnBuilder(outputs[index], pieceRows: pieceRows)) }
        guard table.rowCount > 0 else {
            return Table(emptyOf: wanted.compactMap { outputs[$0].field(isWhole: outputs[$0].isWhole(rows: pieceRows)) })
        }
        builders = try withCall(until: deadline) { call throws(KeelError) in
            try self.runPieces(table, fillings, wanted, builders, call)
        }
        var pairs: [(name: String, column: Column)] = []
        pairs.reserveCapacity(wanted.count)
        for (index, builder) in zip(wanted, builders) { pairs.append((outputs[index].name, builder.column())) }
        return try Table(pairs)
    }

    /// Runs the pieces of a table, one after another, and gives their outputs to the builders.
    private func runPieces(
        _ table: Table, _ fillings: [ONNXFilling], _ wanted: [Int], _ builders: [ONNXColumnBuilder], _ call: ONNXCall
    ) throws(KeelError) -> [ONNXColumnBuilder] {
        var builders = builders
        let rowCount = table.rowCount
        let size = pieceRows ?? rowCount
        let missing = (size - rowCount % size) % size
        let filled = missing == 0 ? table : table.taking(rows: Array(0..<rowCount) + Array(repeating: rowCount - 1, count: missing))
        for start in stride(from: 0, to: rowCount, by: size) {
            let tensors = try ONNXTensors(inputs, fillings, filled, rows: start..<start + size)
            // An output may be an input: the memory of the tensors has to stay until the values are read.
            defer { withExtendedLifetime(tensors) {} }
            let values = try execute(tensors.native, wanted, call)
            defer { keel_onnx_values_free(values) }
            for i in builders.indices { try builders[i].append(values, i, rows: size, kept: min(size, rowCount - start)) }
        }
        return builders
    }

    /// - Returns: the wanted outputs, to be freed.
    private func execute(_ native: [keel_onnx_tensor], _ wanted: [Int], _ call: ONNXCall) throws(KeelError) -> OpaquePointer {
        var results: OpaquePointer?
        if let failure = ONNXRuntimeLibrary.take(keel_onnx_run(session, call.handle, native, wanted, wanted.count, &results)) {
            throw .invalid("the model cannot run: \(failure)")
        }
        guard let results else { throw KeelError(.internal, "ONNX Runtime gave no outputs") }
        return results
    }

    /// Calls `body` with a call that is ended when the deadline is there.
    private func withCall<T>(
        until deadline: ContinuousClock.Instant, _ body: (ONNXCall) throws(KeelError) -> T
    ) throws(KeelError) -> T {
        let call = try ONNXCall(try ONNXRuntimeLibrary.shared.get())
        let (result, isTerminated) = ONNXDeadlines.shared.watch(call, until: deadline) { () -> Result<T, KeelError> in
            do throws(KeelError) { return .success(try body(call)) } catch { return .failure(error) }
        }
        if isTerminated, case .failure = result {
            throw KeelError(.deadlineExceeded, "the model did not answer before the deadline and was ended")
        }
        return try result.get()
    }

    /// The positions of the named outputs.
    private func positions(_ wanted: [String]?) throws(KeelError) -> [Int] {
        guard let wanted else { return readable }
        var found: [Int] = []
        for name in wanted {
            guard let index = outputs.firstIndex(where: { $0.name == name }) else {
                let names = outputs.map(\.name)
                throw .invalid(
                    "the model has no output '\(name)'",
                    hint: nearest(name, in: names).map { "did you mean '\($0)'?" } ?? "outputs: \(names.joined(separator: ", "))")
            }
            found.append(index)
        }
        return found
    }

    /// The only input with several values a row, or the only input when a row has one.
    private static func spreadable(_ inputs: [Port]) -> Int? {
        let wide = inputs.indices.filter { inputs[$0].shape.count == 2 && inputs[$0].shape[1] != 1 }
        if wide.count == 1 { return wide[0] }
        return inputs.count == 1 && inputs[0].shape.count == 2 ? 0 : nil
    }

    private static func pieceRows(_ inputs: [Port]) -> (Int?, KeelError?) {
        var fixed: (rows: Int, name: String)?
        for port in inputs where port.shape.first != -1 {
            let rows = port.shape.first ?? 1
            guard rows > 0 else { return (nil, .invalid("input '\(port.name)' has the shape \(port.shape), which holds no row")) }
            if let fixed, fixed.rows != rows {
                return (
                    nil,
                    .invalid("inputs '\(fixed.name)' and '\(port.name)' take \(fixed.rows) and \(rows) rows at a time, no common number")
                )
            }
            fixed = (rows, port.name)
        }
        return (fixed?.rows, nil)
    }
}
