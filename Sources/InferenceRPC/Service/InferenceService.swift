import Contracts
import InferenceAPI
import NIOCore
import Serving
import WebAPI

/// What the methods of the service do: messages to calls of the domain, and back. It never blocks.
struct InferenceService: Sendable {
    let runtime: ServingRuntime
    let gate: RequestGate
    /// Keel's.
    let version: String

    /// Of a method that runs no model.
    private static let messageBytesMax = 1 << 20

    /// The largest message that a call of the method may send.
    func messageBytesMax(_ method: RPCMethod, of caller: Caller) -> Int {
        method.isInference ? runtime.bodyBytesMax(in: caller.workspace) : InferenceService.messageBytesMax
    }

    // MARK: Inference

    /// What one `ModelInferRequest` is answered.
    struct InferCall: Sendable {
        let caller: Caller
        let body: MessageBody
        /// How long the client waits.
        let timeout: Duration?
        /// The trace that it belongs to, as it came.
        let traceparent: String?
        /// Whether the answer is a `ModelStreamInferResponse`.
        let isStream: Bool
    }

    /// Runs the endpoint that a request names.
    /// - Parameter answer: called once, on any thread, the calling one included.
    func infer(_ call: InferCall, answer: @escaping @Sendable (Result<[UInt8], KeelError>) -> Void) {
        do throws(KeelError) {
            let target = try call.body.target()
            let endpoint = ResourceRef(EndpointSpec.kind, stored: target.model, in: call.caller.workspace)
            try gate.require(call.caller, may: .predict, on: endpoint)
            let bytesMax = runtime.bodyBytesMax(endpoint: endpoint)
            guard call.body.bytes <= bytesMax else {
                throw KeelError(.payloadTooLarge, "the message is larger than \(bytesMax) bytes", hint: "send fewer rows a request")
            }
            runtime.infer(
                endpoint: endpoint, version: target.version, bodyBytes: call.body.workBytes, within: call.timeout,
                parent: call.traceparent.flatMap { TraceParent($0) }
            ) {
                () throws(KeelError) -> InferenceRequest<Result<[UInt8], KeelError>> in
                let request = try call.body.read(bytesMax: bytesMax) { (message) throws(KeelError) in
                    guard try ModelInferRequest.Target(message) == target else { throw .invalid("the message changed") }
                    return try ModelInferRequest(message)
                }
                return InferenceRequest(
                    table: request.table, params: request.params, ids: request.ids,
                    locate: { InferRequest.locate($0, in: request.table.names) }
                ) { result in
                    InferenceService.encoded(
                        ModelInferResponse(model: target.model, result: result, request: request), isStream: call.isStream)
                }
            } answer: { result in
                answer(result.flatMap { $0 })
            }
        } catch { answer(.failure(error)) }
    }

    private static func encoded(_ response: ModelInferResponse, isStream: Bool) -> Result<[UInt8], KeelError> {
        var message = ProtobufWriter(capacity: 256 + response.result.ids.count * 64)
        do throws(KeelError) {
            if isStream {
                var inner = ProtobufWriter(capacity: 256)
                try response.write(to: &inner, flags: ["triton_final_response"])
                message.data(2, inner.bytes)
            } else {
                try response.write(to: &message)
            }
            return .success(message.bytes)
        } catch { return .failure(error) }
    }

    /// What a stream answers a request that failed: the stream goes on.
    static func failure(_ error: KeelError, id: String) -> [UInt8] {
        var message = ProtobufWriter()
        message.text(1, GRPCStatus(error).message)
        message.message(2) { $0.text(3, id) }
        return message.bytes
    }

    // MARK: Everything else

    /// Answers a method that runs no model.
    func answer(_ method: RPCMethod, _ caller: Caller, _ message: UnsafeRawBufferPointer) throws(KeelError) -> [UInt8] {
        var out = ProtobufWriter()
        switch method {
        case .serverLive, .serverReady: out.bool(1, true)
        case .serverMetadata:
            _ = try gate.grant(caller, may: .serverRead, on: "*")
            out.text(1, "keel")
            out.text(2, version)
            for name in ["model_configuration", "model_repository", "statistics"] { out.element(3, name) }
        case .modelReady:
            _ = try description(try NamedModel(message), caller)
            out.bool(1, true)
        case .modelMetadata: try described(message, caller).writeMetadata(to: &out)
        case .modelConfig: try described(message, caller).writeConfiguration(to: &out)
        case .modelStatistics: try writeStatistics(try NamedModel(message), caller, to: &out)
        case .repositoryIndex: try writeIndex(message, caller, to: &out)
        case .repositoryModelLoad: try load(try RepositoryModel(message), caller)
        case .repositoryModelUnload: try unload(try RepositoryModel(message), caller)
        case .modelInfer, .modelStreamInfer: throw KeelError(.internal, "\(method.rawValue) runs a model")
        }
        return out.bytes
    }

    private func described(_ message: UnsafeRawBufferPointer, _ caller: Caller) throws(KeelError) -> ModelDescription {
        let model = try NamedModel(message)
        try gate.require(caller, may: .predict, on: endpoint(model.name, caller))
        return try description(model, caller)
    }

    /// - Throws: why the endpoint does not serve; `notFound` for a version of it that does not.
    private func description(_ model: NamedModel, _ caller: Caller) throws(KeelError) -> ModelDescription {
        let endpoint = endpoint(model.name, caller)
        guard let fields = runtime.requestFields(endpoint: endpoint), let limits = runtime.limits(endpoint: endpoint) else {
            throw runtime.whyNotServing(endpoint)
        }
        let versions = runtime.versions(endpoint: endpoint)
        if let version = model.version, !versions.contains(version) {
            throw KeelError.notFound(
                "endpoint '\(endpoint.qualifiedName)' serves no version '\(version.prefix(60))'",
                hint: "it serves \(versions.joined(separator: " and "))")
        }
        return ModelDescription(
            name: endpoint.qualifiedName, versions: versions, inputs: fields.map { ($0.name, $0.type) },
            outputs: runtime.outputs(endpoint: endpoint).map { ($0.name, $0.type) }, rowsMax: limits.rows)
    }

    private func endpoint(_ name: String, _ caller: Caller) -> ResourceRef {
        ResourceRef(EndpointSpec.kind, stored: name, in: caller.workspace)
    }

    /// The endpoints of the caller's workspace that the caller may ask.
    private func statuses(_ caller: Caller) -> [EndpointStatus] {
        runtime.status().filter { $0.ref.workspace == caller.workspace && caller.may(.predict, on: $0.ref) }
    }

    private func writeStatistics(_ model: NamedModel, _ caller: Caller, to out: inout ProtobufWriter) throws(KeelError) {
        var statuses = statuses(caller)
        if model.name.isEmpty {
            _ = try gate.grant(caller, may: .predict, on: "*")
        } else {
            let description = try description(model, caller)
            try gate.require(caller, may: .predict, on: endpoint(model.name, caller))
            statuses.removeAll { $0.ref.qualifiedName != description.name }
        }
        for status in statuses {
            for release in [status.stable, status.candidate].compactMap({ $0 })
            where model.version == nil || model.version == release.modelVersion {
                out.message(1) { release.writeStatistics(of: status.ref.qualifiedName, to: &$0) }
            }
        }
    }

    private func writeIndex(_ message: UnsafeRawBufferPointer, _ caller: Caller, to out: inout ProtobufWriter) throws(KeelError) {
        _ = try gate.grant(caller, may: .predict, on: "*")
        var isReadyOnly = false
        try ProtobufReader.fields(of: message) { (field) throws(KeelError) in
            if field.number == 2 { isReadyOnly = try field.integer() != 0 }
        }
        for status in statuses(caller) {
            let versions = runtime.versions(endpoint: status.ref)
            for version in versions {
                out.message(1) { entry in
                    entry.text(1, status.ref.qualifiedName)
                    entry.text(2, version)
                    entry.text(3, "READY")
                }
            }
            guard versions.isEmpty, !isReadyOnly else { continue }
            out.message(1) { entry in
                entry.text(1, status.ref.qualifiedName)
                entry.text(3, "UNAVAILABLE")
                entry.text(4, runtime.whyNotServing(status.ref).message)
            }
        }
    }

    // What serves is decided by releases, which pass gates: loading says whether the endpoint serves, and unloading is refused with what does it.

    private func load(_ model: RepositoryModel, _ caller: Caller) throws(KeelError) {
        let endpoint = endpoint(model.name, caller)
        try gate.require(caller, may: .predict, on: endpoint)
        if let parameter = model.parameter {
            throw .invalid(
                "a model cannot be given a configuration or files here", hint: "register it, and release it to the endpoint",
                path: "parameters.\(parameter.prefix(60))")
        }
        guard runtime.versions(endpoint: endpoint).isEmpty else { return }
        throw runtime.whyNotServing(endpoint)
    }

    private func unload(_ model: RepositoryModel, _ caller: Caller) throws(KeelError) {
        let endpoint = endpoint(model.name, caller)
        try gate.require(caller, may: .predict, on: endpoint)
        guard runtime.limits(endpoint: endpoint) != nil else { throw runtime.whyNotServing(endpoint) }
        throw KeelError(
            .failedPrecondition, "what serves is not unloaded through this protocol",
            hint: "keel delete endpoint \(endpoint.qualifiedName) takes the endpoint away; a rollback goes back to the release before")
    }
}
