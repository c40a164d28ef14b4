import COnnxRuntime
import Contracts
import Glibc
import Synchronization

/// The loaded ONNX Runtime library with its environment, which stay for the life of the process.
///
/// `@unchecked Sendable`: immutable after `init`; ONNX Runtime's environment may be used from any thread.
struct ONNXRuntimeLibrary: @unchecked Sendable {
    let handle: OpaquePointer
    let path: String
    let version: String

    /// Loaded at first use; a failure is kept.
    static let shared: Result<ONNXRuntimeLibrary, KeelError> = {
        do throws(KeelError) { return .success(try ONNXRuntimeLibrary(locator: .process)) } catch { return .failure(error) }
    }()

    init(locator: EngineLocator) throws(KeelError) {
        var runtime: OpaquePointer?
        path = try locator.load(.onnxruntime) { candidate in
            ONNXRuntimeLibrary.take(keel_onnx_open(candidate, ONNXRuntimeLibrary.memoryBytesMax.load(ordering: .relaxed), &runtime))
        }
        guard let runtime else {
            throw KeelError(.engineMissing, "ONNX Runtime loaded without a runtime", hint: locator.installing)
        }
        handle = runtime
        version = String(cString: keel_onnx_version(runtime))
    }

    /// See `ONNXModel.limitMemory`.
    static let memoryBytesMax = Atomic(1 << 30)

    /// A message of the shim as a Swift text, without the places in ONNX Runtime's source; the message is freed.
    static func take(_ message: UnsafeMutablePointer<CChar>?) -> String? {
        guard let message else { return nil }
        defer { free(message) }
        return String(cString: message).split(separator: " ").filter { !$0.hasPrefix("/onnxruntime_src/") }.joined(separator: " ")
    }
}
